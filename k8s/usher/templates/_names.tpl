{{/*
Names and labels. A name has 47 characters at the most: with "-nats" and what Kubernetes appends to the pods of a
StatefulSet, labels stay within 63. Selectors hold nothing that a new version changes.
*/}}

{{- define "usher.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "usher.fullname" -}}
{{- $name := include "usher.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 47 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 47 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "usher.nats.fullname" -}}
{{- include "usher.fullname" . }}-nats
{{- end -}}

{{- define "usher.nats.headless" -}}
{{- include "usher.fullname" . }}-nats-headless
{{- end -}}

{{/* What selectors may hold. Takes (list root component). */}}
{{- define "usher.selector" -}}
{{- $root := first . -}}
app.kubernetes.io/name: {{ include "usher.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
app.kubernetes.io/component: {{ last . }}
{{- end -}}

{{/* Labels of an object. Takes (list root component). */}}
{{- define "usher.labels" -}}
{{- $root := first . -}}
{{ include "usher.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name ($root.Chart.Version | replace "+" "_") }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* An image. Takes (list image default-tag). */}}
{{- define "usher.image" -}}
{{- $image := first . -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default (last .) }}
{{- end -}}
{{- end -}}

{{- define "usher.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "usher.fullname" .) "default") -}}
{{- end -}}

{{- define "usher.apps.secret" -}}
{{- .Values.apps.existingSecret | default (printf "%s-apps" (include "usher.fullname" .)) -}}
{{- end -}}

{{- define "usher.apps.key" -}}
{{- empty .Values.apps.existingSecret | ternary "apps.toml" .Values.apps.existingSecretKey -}}
{{- end -}}

{{- define "usher.nats.secret" -}}
{{- .Values.nats.bundled.existingSecret | default (printf "%s-auth" (include "usher.nats.fullname" .)) -}}
{{- end -}}

{{/* Whether an optional object is wanted: true, or "auto" and the cluster knows its API. Takes (list root wanted api). */}}
{{- define "usher.wanted" -}}
{{- $root := index . 0 -}}
{{- $wanted := index . 1 | toString -}}
{{- if or (eq $wanted "true") (and (eq $wanted "auto") ($root.Capabilities.APIVersions.Has (index . 2))) -}}
yes
{{- end -}}
{{- end -}}
