{{/*
How many nodes there are. With autoscaling that is not the chart's to say, but a field that goes from a Deployment is one again:
the upgrade that turns autoscaling on would send everybody to a single node. So the number that there is stays as it is.
*/}}

{{- define "usher.replicas" -}}
{{- $live := lookup "apps/v1" "Deployment" .Release.Namespace (include "usher.fullname" .) -}}
{{- if eq .Values.autoscaling.mode "none" -}}
replicas: {{ .Values.replicas }}
{{- else if $live -}}
replicas: {{ $live.spec.replicas }}
{{- end -}}
{{- end -}}

{{/*
How fast the number of nodes may change: up at once, since connections wait for nobody; down one node at a time, since each
of them sends its clients elsewhere.
*/}}

{{- define "usher.scaling.behavior" -}}
{{- $down := .Values.autoscaling.scaleDownPeriodSeconds | default (max 60 (include "usher.grace" . | int)) | int -}}
scaleUp:
  stabilizationWindowSeconds: 0
  selectPolicy: Max
  policies:
    - {type: Percent, value: 100, periodSeconds: 30}
    - {type: Pods, value: 2, periodSeconds: 30}
scaleDown:
  stabilizationWindowSeconds: {{ .Values.autoscaling.scaleDownWindowSeconds }}
  policies:
    - {type: Pods, value: 1, periodSeconds: {{ min 1800 $down }}}
{{- end -}}
