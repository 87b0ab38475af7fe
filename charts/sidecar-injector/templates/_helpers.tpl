{{- define "sidecar-injector.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "sidecar-injector.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | replace "." "-" | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | replace "." "-" | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "sidecar-injector.selectorLabels" -}}
app.kubernetes.io/name: {{ include "sidecar-injector.name" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "sidecar-injector.labels" -}}
{{ include "sidecar-injector.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: sidecar-injector
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "sidecar-injector.image" -}}
{{- $image := .Values.image }}
{{- $image.repository }}{{ if $image.digest }}@{{ $image.digest }}{{ else }}:{{ default .Chart.AppVersion $image.tag }}{{ end }}
{{- end }}

{{- define "sidecar-injector.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "sidecar-injector.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "sidecar-injector.configuration" -}}
{{- default (include "sidecar-injector.fullname" .) .Values.webhook.configurationName }}
{{- end }}

{{- define "sidecar-injector.secret" -}}
{{- if eq .Values.tls.mode "existingSecret" }}
{{- required "tls.existingSecret must name a Secret with tls.crt and tls.key" .Values.tls.existingSecret }}
{{- else if eq .Values.tls.mode "cert-manager" }}
{{- /* Another name than the webhook's own: Helm deletes that one when the mode changes. */ -}}
{{- printf "%s-cert" (include "sidecar-injector.fullname" .) }}
{{- else }}
{{- printf "%s-tls" (include "sidecar-injector.fullname" .) }}
{{- end }}
{{- end }}

{{- define "sidecar-injector.metadata" -}}
labels:
  {{- include "sidecar-injector.labels" . | nindent 2 }}
{{- with .Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Where the API server finds a path. Without caBundle: whoever writes it owns it, and Helm must not take it back. */ -}}
{{- define "sidecar-injector.clientConfig" -}}
service:
  name: {{ include "sidecar-injector.fullname" .root }}
  namespace: {{ .root.Release.Namespace | quote }}
  path: {{ .path }}
  port: {{ .root.Values.service.port }}
{{- if and (eq .root.Values.tls.mode "existingSecret") .root.Values.tls.caBundle }}
caBundle: {{ .root.Values.tls.caBundle | b64enc }}
{{- end }}
{{- end }}

{{- /* Annotations that are a request, ours first, JSON. */ -}}
{{- define "sidecar-injector.keys" -}}
{{- prepend (default list .Values.settings.requestAnnotations) (printf "%s/inject" .Values.settings.annotationPrefix) | toJson }}
{{- end }}

{{- /* A list of strings in CEL. */ -}}
{{- define "sidecar-injector.celKeys" -}}
[{{ range $index, $key := . }}{{ if $index }}, {{ end }}'{{ $key }}'{{ end }}]
{{- end }}

{{- /* Namespaces that are never looked at, JSON. */ -}}
{{- define "sidecar-injector.excluded" -}}
{{- append (default list .Values.webhook.excludedNamespaces) .Release.Namespace | uniq | toJson }}
{{- end }}

{{- define "sidecar-injector.namespaces" -}}
- key: kubernetes.io/metadata.name
  operator: NotIn
  values:
  {{- range include "sidecar-injector.excluded" . | fromJsonArray }}
  - {{ . | quote }}
  {{- end }}
{{- with .Values.webhook.namespaceSelector }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* CEL that is true where one of the request annotations is there. */ -}}
{{- define "sidecar-injector.asks" -}}
{{- $tests := list }}
{{- range include "sidecar-injector.keys" . | fromJsonArray }}
{{- $tests = append $tests (printf "'%s' in object.metadata.annotations" .) }}
{{- end -}}
has(object.metadata.annotations) && ({{ join " || " $tests }})
{{- end }}

{{- /* metadata with labels of one object's own. */ -}}
{{- define "sidecar-injector.labelled" -}}
labels:
  {{- include "sidecar-injector.labels" .root | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Templates by name, JSON: of sidecars/ and of the values, which count more. Never rendered. */ -}}
{{- define "sidecar-injector.templates" -}}
{{- $templates := dict }}
{{- range $path, $bytes := .Files.Glob "sidecars/*.yaml" }}
{{- $_ := set $templates (base $path | trimSuffix ".yaml") (toString $bytes) }}
{{- end }}
{{- mergeOverwrite $templates (default dict .Values.templates) | toJson }}
{{- end }}
