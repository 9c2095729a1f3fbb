{{/*
What pods have in common.
*/}}

{{/* The head of every pod's spec. */}}
{{- define "usher.pod.common" -}}
automountServiceAccountToken: false
enableServiceLinks: false
serviceAccountName: {{ include "usher.serviceAccountName" . }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/*
Where pods run. Takes (list root component place), of which place has nodeSelector, tolerations, affinity, topologySpread
and priorityClassName. Pods of one revision are spread by themselves: during a rollout the old ones do not count.
*/}}
{{- define "usher.pod.place" -}}
{{- $place := last . -}}
{{- $selector := include "usher.selector" (list (index . 0) (index . 1)) -}}
{{- $revision := eq (index . 1) "nats" | ternary "controller-revision-hash" "pod-template-hash" -}}
{{- with $place.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $place.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $place.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $place.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if or $place.topologySpread.zone $place.topologySpread.machine }}
topologySpreadConstraints:
  {{- range $key, $unsatisfiable := dict "topology.kubernetes.io/zone" $place.topologySpread.zone "kubernetes.io/hostname" $place.topologySpread.machine }}
  {{- if $unsatisfiable }}
  - topologyKey: {{ $key }}
    maxSkew: 1
    whenUnsatisfiable: {{ $unsatisfiable }}
    matchLabelKeys: [{{ $revision }}]
    labelSelector:
      matchLabels:
        {{- $selector | nindent 8 }}
  {{- end }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* A preStop hook that waits. Kubernetes before 1.30 has none of its own, and the image no shell. */}}
{{- define "usher.pod.preStop" -}}
{{- if semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version -}}
sleep: {seconds: {{ .Values.preStopSleepSeconds }}}
{{- else -}}
exec: {command: [usher, wait, {{ .Values.preStopSleepSeconds | quote }}]}
{{- end -}}
{{- end -}}
