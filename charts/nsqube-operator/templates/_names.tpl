{{/* One operator per namespace: its objects have fixed names, so that policies can name its pods. */}}
{{- define "operator.name" -}}nsq-operator{{- end }}

{{- define "operator.selector" -}}
app.kubernetes.io/name: nsq-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "operator.labels" -}}
{{ include "operator.selector" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* What the operator may do where its clusters are. Neither list nor watch of Secrets, no exec, no nodes. */}}
{{- define "operator.rules" -}}
- apiGroups: [nsqube.io]
  resources: [nsqclusters]
  verbs: [get, list, watch]
- apiGroups: [nsqube.io]
  resources: [nsqtopics, nsqchannels]
  verbs: [get, list, watch, patch]
- apiGroups: [nsqube.io]
  resources: [nsqclusters/status, nsqtopics/status, nsqchannels/status]
  verbs: [patch]
# Asked for where owners must be allowed to block a deletion.
- apiGroups: [nsqube.io]
  resources: [nsqclusters/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services, configmaps, serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, delete]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [monitoring.coreos.com]
  resources: [podmonitors]
  verbs: [get, create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
