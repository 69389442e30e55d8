{{- define "kernmesh.name" -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}-{{ .role }}
{{- end }}
{{- define "kernmesh.selector" -}}
app.kubernetes.io/name: kernmesh
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end }}
{{- define "kernmesh.labels" -}}
{{ include "kernmesh.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- define "kernmesh.meta" -}}
name: {{ include "kernmesh.name" . }}
namespace: {{ .Release.Namespace }}
labels: {{- include "kernmesh.labels" . | nindent 2 }}
{{- end }}
{{- define "kernmesh.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}
{{- /* What a role reads: its own values' config over what the chart knows. */ -}}
{{- define "kernmesh.agentConfig" -}}
{{- $chart := dict "server" (dict "listen" (list (printf ":%v" .Values.agent.port))) }}
{{- if .Values.controller.enabled }}
{{- $_ := set $chart "pingmesh" (dict "controller" (include "kernmesh.controllerUrl" .)) }}
{{- end }}
{{- toYaml (mergeOverwrite $chart (deepCopy .Values.agent.config)) }}
{{- end }}
{{- define "kernmesh.proberConfig" -}}
{{- $chart := dict "server" (dict "listen" (list (printf ":%v" .Values.prober.port))) "ebpf" (dict "programs" list) "usage" (dict "state_dir" nil "pods" (dict "names" "none")) "pressure" (dict "node" "$POD_NAME") }}
{{- if .Values.controller.enabled }}
{{- $_ := set $chart "pingmesh" (dict "controller" (include "kernmesh.controllerUrl" .)) }}
{{- end }}
{{- toYaml (mergeOverwrite $chart (deepCopy .Values.prober.config)) }}
{{- end }}
{{- define "kernmesh.controllerConfig" -}}
{{- $chart := dict "server" (dict "listen" (list (printf ":%v" .Values.controller.port))) "mesh" (dict "agent_port" .Values.agent.port) }}
{{- toYaml (mergeOverwrite $chart (deepCopy .Values.controller.config)) }}
{{- end }}
{{- define "kernmesh.labellerConfig" -}}
{{- $chart := dict "server" (dict "listen" (list (printf ":%v" .Values.labeller.port))) "lease" (dict "namespace" .Release.Namespace "name" (printf "%s-labeller" .Release.Name)) }}
{{- if not .Values.labeller.config.prometheus }}
{{- $_ := set $chart "agents" (dict "service" (printf "%s/%s-agent" .Release.Namespace (.Release.Name | trunc 40 | trimSuffix "-"))) }}
{{- end }}
{{- toYaml (mergeOverwrite $chart (deepCopy .Values.labeller.config)) }}
{{- end }}
{{- define "kernmesh.controllerUrl" -}}
http://{{ .Release.Name | trunc 40 | trimSuffix "-" }}-controller.{{ .Release.Namespace }}.svc:{{ .Values.controller.port }}
{{- end }}
{{- /* The agent talks to the API only where it labels, or names pods by it. */ -}}
{{- define "kernmesh.agentLabels" -}}
{{- if dig "pressure" "enabled" false .Values.agent.config }}true{{ end }}
{{- end }}
{{- define "kernmesh.agentNames" -}}
{{- if eq (dig "usage" "pods" "names" "paths" .Values.agent.config) "api" }}true{{ end }}
{{- end }}
{{- define "kernmesh.annotations" -}}
checksum/config: {{ .config | sha256sum }}
{{- if and .Values.scrapeAnnotations (not .Values.serviceMonitor.enabled) }}
prometheus.io/scrape: "true"
prometheus.io/port: {{ .port | quote }}
prometheus.io/path: /metrics
{{- end }}
{{- end }}
{{- define "kernmesh.probes" -}}
startupProbe: {httpGet: {path: /-/ready, port: http}, periodSeconds: 2, failureThreshold: 60}
readinessProbe: {httpGet: {path: /-/ready, port: http}, periodSeconds: 5, timeoutSeconds: 3}
livenessProbe: {httpGet: {path: /-/healthy, port: http}, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6}
{{- end }}
{{- define "kernmesh.unprivileged" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
capabilities: {drop: [ALL]}
{{- end }}
{{- define "kernmesh.pulls" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}
