{{- /* What the operator does with its own kinds, in each namespace that it serves: not one right that it does not
     use, as tests/chart_e2e/rights.rs sees to. */ -}}
{{- define "operator.rules.kinds" -}}
- apiGroups: [fhirexport.dev]
  resources: [fhirexports]
  # create: the runs of schedules; patch: the finalizer; delete: ttlSecondsAfterFinished, history limits, Replace
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [fhirexport.dev]
  resources: [fhirexportschedules]
  verbs: [list, watch]
- apiGroups: [fhirexport.dev]
  resources: [fhirservers]
  # patch: the finalizer
  verbs: [list, watch, patch]
- apiGroups: [fhirexport.dev]
  resources: [fhirexports/status, fhirservers/status, fhirexportschedules/status]
  verbs: [patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
- apiGroups: [""]
  resources: [namespaces]
  # its labels, for spec.consumers; in a Role this is the Role's own namespace
  verbs: [get]
{{- end -}}

{{- /* The namespaces where Roles let it read credentials, as JSON: credentialNamespaces, else watchNamespaces, else the
     release's own. None where a ClusterRole does. */ -}}
{{- define "operator.credentials" -}}
{{- if .Values.readCredentialsInAllNamespaces -}}
[]
{{- else -}}
{{- .Values.credentialNamespaces | default .Values.watchNamespaces | default (list .Release.Namespace) | toJson -}}
{{- end -}}
{{- end -}}

{{- /* What it reads where FhirServers are: by name, never as a list. */ -}}
{{- define "operator.rules.credentials" -}}
- apiGroups: [""]
  resources: [secrets, configmaps, serviceaccounts]
  verbs: [get]
- apiGroups: [""]
  resources: [serviceaccounts/token]
  verbs: [create]
{{- end -}}

{{- /* What it does in the namespace of landing Jobs. */ -}}
{{- define "operator.rules.landings" -}}
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, create, delete]
- apiGroups: [""]
  resources: [secrets]
  # create and patch: a Secret for each Job, renewed while the Job runs
  verbs: [list, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  # Pods that are left of a Job which somebody has deleted without them
  verbs: [list, delete]
{{- end -}}

{{- /* The Lease of the replica that works, in the operator's own namespace. */ -}}
{{- define "operator.rules.lease" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  # What is made has no name yet that a rule could know.
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "operator.fullname" . }}]
  verbs: [get, update]
{{- end -}}

{{- /* A Role and its binding: dict "root" $ "name" … "namespace" … "rules" … */ -}}
{{- define "operator.role" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels: {{- include "operator.labels" .root | nindent 4 }}
rules: {{- .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels: {{- include "operator.labels" .root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ .name }}
subjects: {{- include "operator.subjects" .root | nindent 2 }}
{{- end -}}

{{- define "operator.subjects" -}}
- kind: ServiceAccount
  name: {{ include "operator.serviceaccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}
