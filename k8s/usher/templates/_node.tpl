{{/*
The node's container: its variables, and the volumes behind its files.
*/}}

{{- define "usher.node.env" -}}
- name: USHER_CONFIG
  value: /etc/usher/config/usher.toml
- name: USHER_APPS
  value: /etc/usher/apps/apps.toml
- name: USHER_HOST
  value: {{ .Values.listen | quote }}
- name: USHER_OPS_HOST
  value: {{ .Values.listen | quote }}
- name: USHER_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- if eq .Values.nats.mode "bundled" }}
- name: USHER_NATS__USER
  valueFrom: {secretKeyRef: {name: {{ include "usher.nats.secret" . }}, key: user}}
- name: USHER_NATS__PASSWORD
  valueFrom: {secretKeyRef: {name: {{ include "usher.nats.secret" . }}, key: password}}
{{- else if and (eq .Values.nats.mode "external") .Values.nats.external.existingSecret }}
{{- $external := .Values.nats.external }}
{{- range $variable, $key := dict "USER" $external.userKey "PASSWORD" $external.passwordKey "TOKEN" $external.tokenKey }}
{{- if $key }}
- name: USHER_NATS__{{ $variable }}
  valueFrom: {secretKeyRef: {name: {{ $external.existingSecret }}, key: {{ $key }}}}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Files that come from Secrets, as a list of {name, secret, items: {path: key}}. Directories, so that they can change. */}}
{{- define "usher.node.secrets" -}}
{{- $files := list (dict "name" "apps" "secret" (include "usher.apps.secret" .) "items" (dict "apps.toml" (include "usher.apps.key" .))) -}}
{{- with .Values.tls.existingSecret -}}
{{- $files = append $files (dict "name" "tls" "secret" . "items" (dict "tls.crt" "tls.crt" "tls.key" "tls.key")) -}}
{{- end -}}
{{- $external := .Values.nats.external -}}
{{- if eq .Values.nats.mode "external" -}}
{{- if and $external.existingSecret (or $external.credentialsKey $external.nkeyKey) -}}
{{- $files = append $files (dict "name" "nats" "secret" $external.existingSecret "items" (dict "credentials" $external.credentialsKey "nkey" $external.nkeyKey)) -}}
{{- end -}}
{{- with $external.tls -}}
{{- if .existingSecret -}}
{{- $files = append $files (dict "name" "nats-tls" "secret" .existingSecret "items" (dict "ca" .caKey "certificate" .certificateKey "key" .keyKey)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $files | toJson -}}
{{- end -}}

{{- define "usher.node.mounts" -}}
- {name: config, mountPath: /etc/usher/config, readOnly: true}
{{- range include "usher.node.secrets" . | fromJsonArray }}
- {name: {{ .name }}, mountPath: /etc/usher/{{ .name }}, readOnly: true}
{{- end }}
- {name: tmp, mountPath: /tmp}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "usher.node.volumes" -}}
- name: config
  configMap: {name: {{ include "usher.fullname" . }}}
{{- range include "usher.node.secrets" . | fromJsonArray }}
- name: {{ .name }}
  secret:
    secretName: {{ .secret }}
    items:
      {{- range $path, $key := .items }}
      {{- if $key }}
      - {key: {{ $key }}, path: {{ $path }}}
      {{- end }}
      {{- end }}
{{- end }}
- name: tmp
  emptyDir: {medium: Memory, sizeLimit: 16Mi}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
