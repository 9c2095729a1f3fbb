{{/*
The alerts: files/rules.yml, which is a copy of deploy/prometheus/rules.yml, as the values change it.
*/}}

{{- define "usher.rules" -}}
{{- $values := .Values.monitoring.prometheusRule -}}
{{- $groups := list -}}
{{- range (.Files.Get "files/rules.yml" | fromYaml).groups -}}
{{- $rules := list -}}
{{- range .rules -}}
{{- if .alert -}}
{{- if not (has .alert $values.disabled) -}}
{{- $_ := set . "labels" (merge (dict) $values.alertLabels (.labels | default dict)) -}}
{{- if $values.for -}}{{- $_ := set . "for" $values.for -}}{{- end -}}
{{- $rules = append $rules . -}}
{{- end -}}
{{- else -}}
{{- $rules = append $rules . -}}
{{- end -}}
{{- end -}}
{{- $_ := set . "rules" $rules -}}
{{- if $rules -}}{{- $groups = append $groups . -}}{{- end -}}
{{- end -}}
{{- dict "groups" $groups | toYaml -}}
{{- end -}}
