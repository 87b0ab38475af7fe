{{- /* The chart's name, or nameOverride. */ -}}
{{- define "sidecar-injector.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* The name of the resources: fullnameOverride, or the release name and the chart's name. */ -}}
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

{{- /* Labels that select the pods of the webhook. */ -}}
{{- define "sidecar-injector.selectorLabels" -}}
app.kubernetes.io/name: {{ include "sidecar-injector.name" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- /* Labels of every resource. */ -}}
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

{{- /* The image reference, with the digest if there is one, otherwise with the tag. */ -}}
{{- define "sidecar-injector.image" -}}
{{- $image := .Values.image }}
{{- $image.repository }}{{ if $image.digest }}@{{ $image.digest }}{{ else }}:{{ default .Chart.AppVersion $image.tag }}{{ end }}
{{- end }}

{{- /* The name of the ServiceAccount. */ -}}
{{- define "sidecar-injector.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "sidecar-injector.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- /* The name of the webhook configurations. */ -}}
{{- define "sidecar-injector.configuration" -}}
{{- default (include "sidecar-injector.fullname" .) .Values.webhook.configurationName }}
{{- end }}

{{- /* The name of the Secret with the serving certificate. */ -}}
{{- define "sidecar-injector.secret" -}}
{{- if eq .Values.tls.mode "existingSecret" }}
{{- required "tls.existingSecret must name a Secret with tls.crt and tls.key" .Values.tls.existingSecret }}
{{- else if eq .Values.tls.mode "cert-manager" }}
{{- /* The name differs from the self-managed Secret, because Helm deletes that Secret when the mode changes. */ -}}
{{- printf "%s-cert" (include "sidecar-injector.fullname" .) }}
{{- else }}
{{- printf "%s-tls" (include "sidecar-injector.fullname" .) }}
{{- end }}
{{- end }}

{{- /* Labels and annotations of a resource, without its name and namespace. */ -}}
{{- define "sidecar-injector.metadata" -}}
labels:
  {{- include "sidecar-injector.labels" . | nindent 2 }}
{{- with .Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* The clientConfig for a path of the webhook. It has caBundle only if the values set it: otherwise, the webhook or
    cert-manager owns the field, and Helm must not reset it. */ -}}
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

{{- /* Keys of the request annotations, as a JSON list. The key of this webhook comes first. */ -}}
{{- define "sidecar-injector.keys" -}}
{{- prepend (default list .Values.settings.requestAnnotations) (printf "%s/inject" .Values.settings.annotationPrefix) | toJson }}
{{- end }}

{{- /* A list of strings, written in CEL. */ -}}
{{- define "sidecar-injector.celKeys" -}}
[{{ range $index, $key := . }}{{ if $index }}, {{ end }}'{{ $key }}'{{ end }}]
{{- end }}

{{- /* Excluded namespaces, as a JSON list. */ -}}
{{- define "sidecar-injector.excluded" -}}
{{- append (default list .Values.webhook.excludedNamespaces) .Release.Namespace | uniq | toJson }}
{{- end }}

{{- /* Requirements on namespaces (matchExpressions) of the webhooks and policies. */ -}}
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

{{- /* A CEL expression that is true if the pod has a request annotation. */ -}}
{{- define "sidecar-injector.asks" -}}
{{- $tests := list }}
{{- range include "sidecar-injector.keys" . | fromJsonArray }}
{{- $tests = append $tests (printf "'%s' in object.metadata.annotations" .) }}
{{- end -}}
has(object.metadata.annotations) && ({{ join " || " $tests }})
{{- end }}

{{- /* Like sidecar-injector.metadata, but with additional labels. */ -}}
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

{{- /* Templates by name, as a JSON object: from sidecars/ and from the values, which take precedence. Their text is not
    rendered. */ -}}
{{- define "sidecar-injector.templates" -}}
{{- $templates := dict }}
{{- range $path, $bytes := .Files.Glob "sidecars/*.yaml" }}
{{- $_ := set $templates (base $path | trimSuffix ".yaml") (toString $bytes) }}
{{- end }}
{{- mergeOverwrite $templates (default dict .Values.templates) | toJson }}
{{- end }}
