{{/*
What the schema cannot say: values that are well each by itself, and not together. Each message names the value to change.
*/}}

{{- define "usher.checks" -}}
{{- $nats := .Values.nats -}}
{{- if and (eq $nats.mode "external") (not $nats.external.servers) -}}
{{- fail "nats.external.servers: nats.mode is external, so name your NATS servers: [nats://nats.nats.svc:4222]" -}}
{{- end -}}
{{- if and (eq $nats.mode "none") (include "usher.isCluster" .) -}}
{{- fail "nats.mode: without NATS there can be one node only: set replicas to 1 and autoscaling.mode to none, or nats.mode to bundled" -}}
{{- end -}}
{{- if ge (int $nats.bundled.lameDuck.gracePeriodSeconds) (int $nats.bundled.lameDuck.durationSeconds) -}}
{{- fail "nats.bundled.lameDuck.gracePeriodSeconds: expected less than durationSeconds" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress.hosts: the ingress is enabled, so name a host: [{host: ws.example.com}]" -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.parentRefs: the route is enabled, so name a gateway: [{name: public, namespace: gateways}]" -}}
{{- end -}}
{{- if and (eq .Values.autoscaling.mode "keda") (not .Values.autoscaling.keda.serverAddress) -}}
{{- fail "autoscaling.keda.serverAddress: autoscaling.mode is keda, so name your Prometheus: http://prometheus.monitoring.svc:9090" -}}
{{- end -}}
{{- if lt (int .Values.autoscaling.maxReplicas) (int .Values.autoscaling.minReplicas) -}}
{{- fail "autoscaling.maxReplicas: expected minReplicas or more" -}}
{{- end -}}
{{- if and (has (toString .Values.strategy.maxSurge) (list "0" "0%")) (has (toString .Values.strategy.maxUnavailable) (list "0" "0%")) -}}
{{- fail "strategy.maxSurge: expected more than 0, because maxUnavailable is 0 and no node could be replaced" -}}
{{- end -}}
{{- end -}}
