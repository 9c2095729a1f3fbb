{{/*
How long a pod takes to leave: the one formula of the chart. tests/chart holds it against the node's own.
*/}}

{{/*
Seconds from SIGTERM to the node's exit, at the most: what `usher grace` prints for the same settings. A node without NATS
does not linger.
*/}}
{{- define "usher.leaving" -}}
{{- $drain := .Values.config.drain -}}
{{- $presence := .Values.config.presence -}}
{{- $webhooks := .Values.config.webhooks -}}
{{- $linger := eq .Values.nats.mode "none" | ternary 0 (maxf $presence.linger $presence.drain_linger) -}}
{{- $closing := addf $drain.delay $drain.spread (maxf $drain.timeout $linger) -}}
{{- addf $closing $presence.linger $webhooks.batch_interval $webhooks.timeout 2 | ceil | int -}}
{{- end -}}

{{- define "usher.grace" -}}
{{- add .Values.preStopSleepSeconds (include "usher.leaving" .) .Values.terminationSlackSeconds -}}
{{- end -}}

{{/* Seconds that a rollout may stand still: a pod that leaves does not count against it, a machine that starts does. */}}
{{- define "usher.progressDeadline" -}}
{{- .Values.progressDeadlineSeconds | default (add 600 (include "usher.grace" .) .Values.minReadySeconds) | int -}}
{{- end -}}

{{/* Whether there can be more than one node. */}}
{{- define "usher.isCluster" -}}
{{- $count := eq .Values.autoscaling.mode "none" | ternary .Values.replicas .Values.autoscaling.maxReplicas -}}
{{- if gt (int $count) 1 -}}yes{{- end -}}
{{- end -}}
