{{/*
The bundled NATS: core NATS in a full mesh. Servers and nodes know each other by name, and show one user and password.
*/}}

{{/*
The password. Generated once in a cluster: later the Secret that is there is read again. Every template of one rendering
gets the same, which is why it is kept beside the values.
*/}}
{{- define "usher.nats.password" -}}
{{- if not (hasKey .Values.nats "generated") -}}
{{- $found := (lookup "v1" "Secret" .Release.Namespace (include "usher.nats.secret" .)).data | default dict -}}
{{- $_ := set .Values.nats "generated" ($found.password | default "" | b64dec | default (randAlphaNum 32)) -}}
{{- end -}}
{{- .Values.nats.generated -}}
{{- end -}}

{{/*
nats.conf. Credentials come from the environment, already in quotes: NATS reads a bare $NAME as a value of its own
language, in which a password may be a number.
*/}}
{{- define "usher.nats.conf" -}}
{{- $nats := .Values.nats.bundled -}}
server_name: $POD_NAME
port: 4222
http_port: 8222
pid_file: /run/nats/nats.pid
authorization {
  user: $QUOTED_USER
  password: $QUOTED_PASSWORD
}
cluster {
  name: {{ include "usher.nats.fullname" . }}
  port: 6222
  no_advertise: true  # clients know every server by its name, which outlives its address
  authorization {
    user: $QUOTED_USER
    password: $QUOTED_PASSWORD
  }
  routes = [
    {{- range $i := until (int $nats.replicas) }}
    $ROUTE_{{ $i }}
    {{- end }}
  ]
}
lame_duck_grace_period: {{ $nats.lameDuck.gracePeriodSeconds }}s
lame_duck_duration: {{ $nats.lameDuck.durationSeconds }}s
{{- with $nats.extraConfig }}
{{ . | trim }}
{{- end }}
{{- end -}}

{{- define "usher.nats.env" -}}
{{- $secret := include "usher.nats.secret" . -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: NATS_USER
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: user}}
- name: NATS_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: password}}
- name: QUOTED_USER
  value: "'$(NATS_USER)'"
- name: QUOTED_PASSWORD
  value: "'$(NATS_PASSWORD)'"
{{- range $i := until (int .Values.nats.bundled.replicas) }}
- name: ROUTE_{{ $i }}
  value: "'nats://$(NATS_USER):$(NATS_PASSWORD)@{{ include "usher.nats.host" (list $ $i) }}:6222'"
{{- end }}
{{- end -}}
