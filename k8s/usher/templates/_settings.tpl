{{/*
The node's configuration: usher.toml, and the apps. Numbers go through toJson, which writes 1048576 and never 1e+06.
*/}}

{{/* TOML of a table: its own keys first, then the tables in it. Takes (list table dotted-name). */}}
{{- define "usher.toml" -}}
{{- $prefix := last . -}}
{{- $tables := dict -}}
{{- range $key, $value := first . }}
{{- if kindIs "map" $value }}
{{- $_ := set $tables $key $value }}
{{- else if not (kindIs "invalid" $value) }}
{{ $key }} = {{ include "usher.toml.value" $value }}
{{- end }}
{{- end }}
{{- range $key, $value := $tables }}
{{- $name := empty $prefix | ternary $key (printf "%s.%s" $prefix $key) }}

[{{ $name }}]
{{- include "usher.toml" (list $value $name) }}
{{- end }}
{{- end -}}

{{/* A value on one line. A text in JSON is one in TOML; a map is not. */}}
{{- define "usher.toml.value" -}}
{{- if kindIs "map" . -}}
{{- $items := list -}}
{{- range $key, $value := . -}}{{- $items = append $items (printf "%s = %s" (toJson $key) (include "usher.toml.value" $value)) -}}{{- end -}}
{ {{- $items | join ", " -}} }
{{- else if kindIs "slice" . -}}
{{- $items := list -}}
{{- range . -}}{{- $items = append $items (include "usher.toml.value" .) -}}{{- end -}}
[{{ $items | join ", " }}]
{{- else -}}
{{ toJson . }}
{{- end -}}
{{- end -}}

{{/* What the chart decides, over what the values say. What the image has variables of its own for is in "usher.node.env". */}}
{{- define "usher.settings" -}}
{{- $own := dict "port" 6001 "ops_port" 9601 -}}
{{- if .Values.tls.existingSecret -}}
{{- $_ := set $own "tls" (dict "certificate" "/etc/usher/tls/tls.crt" "key" "/etc/usher/tls/tls.key") -}}
{{- end -}}
{{- $nats := dict "servers" (include "usher.nats.servers" . | fromJsonArray) -}}
{{- if eq .Values.nats.mode "external" -}}
{{- $nats = include "usher.nats.files" .Values.nats.external | fromJson | merge $nats -}}
{{- end -}}
{{- $_ := set $own "nats" $nats -}}
{{- $own = mergeOverwrite (deepCopy .Values.config) $own -}}
{{- include "usher.toml" (list $own "") | trim -}}
{{- end -}}

{{/* Files with which a node shows who it is to external NATS servers, and knows them. Takes nats.external. */}}
{{- define "usher.nats.files" -}}
{{- $files := dict -}}
{{- if and .existingSecret .credentialsKey -}}{{- $_ := set $files "credentials" "/etc/usher/nats/credentials" -}}{{- end -}}
{{- if and .existingSecret .nkeyKey -}}{{- $_ := set $files "nkey" "/etc/usher/nats/nkey" -}}{{- end -}}
{{- $tls := dict -}}
{{- if .tls.existingSecret -}}
{{- if .tls.caKey -}}{{- $_ := set $tls "ca" "/etc/usher/nats-tls/ca" -}}{{- end -}}
{{- if .tls.certificateKey -}}{{- $_ := set $tls "certificate" "/etc/usher/nats-tls/certificate" -}}{{- end -}}
{{- if .tls.keyKey -}}{{- $_ := set $tls "key" "/etc/usher/nats-tls/key" -}}{{- end -}}
{{- end -}}
{{- if .tls.hostname -}}{{- $_ := set $tls "hostname" .tls.hostname -}}{{- end -}}
{{- if $tls -}}{{- $_ := set $files "tls" $tls -}}{{- end -}}
{{- $files | toJson -}}
{{- end -}}

{{/* The NATS servers as nodes are to know them: every one by its own name, so that one that leaves is left at once. */}}
{{- define "usher.nats.servers" -}}
{{- $servers := list -}}
{{- if eq .Values.nats.mode "external" -}}
{{- $servers = .Values.nats.external.servers -}}
{{- else if eq .Values.nats.mode "bundled" -}}
{{- range $i := until (int .Values.nats.bundled.replicas) -}}
{{- $servers = append $servers (printf "nats://%s:4222" (include "usher.nats.host" (list $ $i))) -}}
{{- end -}}
{{- end -}}
{{- $servers | toJson -}}
{{- end -}}

{{/* The DNS name of one bundled server. Takes (list root number). */}}
{{- define "usher.nats.host" -}}
{{- $root := first . -}}
{{- printf "%s-%d.%s.%s.svc" (include "usher.nats.fullname" $root) (last .) (include "usher.nats.headless" $root) $root.Release.Namespace -}}
{{- end -}}

{{/* apps.toml of the apps in the values. */}}
{{- define "usher.apps.toml" -}}
{{- range .Values.apps.list }}
[[apps]]
{{- include "usher.toml" (list . "apps") }}
{{ end }}
{{- end -}}
