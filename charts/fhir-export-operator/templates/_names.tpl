{{- define "operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "operator.fullname" -}}
{{- $name := include "operator.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* Names of ClusterRoles hold the namespace, so that two releases of one name do not meet. */ -}}
{{- define "operator.clustername" -}}
{{- printf "%s:%s" .Release.Namespace (include "operator.fullname" .) -}}
{{- end -}}

{{- define "operator.viewer" -}}
{{- default (printf "%s:viewer" (include "operator.clustername" .)) .Values.rbac.viewerRole.name -}}
{{- end -}}

{{- define "operator.editor" -}}
{{- default (printf "%s:editor" (include "operator.clustername" .)) .Values.rbac.editorRole.name -}}
{{- end -}}

{{- define "operator.selector" -}}
app.kubernetes.io/name: {{ include "operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "operator.labels" -}}
{{- $own := include "operator.selector" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/version" .Chart.AppVersion -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "fhir-export-operator" -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") -}}
{{- toYaml (merge $own .Values.commonLabels) -}}
{{- end -}}

{{- define "operator.serviceaccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "operator.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is required when serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- /* Longer than the longest request: before a kick-off a token may be asked for, and its status is written after it. */ -}}
{{- define "operator.grace" -}}
{{- $least := add (default 3600 .Values.tuning.maxRequestTimeoutSeconds) 60 -}}
{{- $grace := int64 (default $least .Values.terminationGracePeriodSeconds) -}}
{{- if lt $grace $least -}}
{{- fail (printf "terminationGracePeriodSeconds: %d is less than %d, so that a kick-off could be cut off; raise it, or lower tuning.maxRequestTimeoutSeconds" $grace $least) -}}
{{- end -}}
{{- $grace -}}
{{- end -}}

{{- /* The directory that volumes are mounted in, each under the name of its claim. */ -}}
{{- define "operator.volumes" -}}
/var/lib/fhir-export/volumes
{{- end -}}

{{- /* The grants of all volumes, as the program reads them: NAMESPACE=CLAIM or NAMESPACE=CLAIM/PATH. */ -}}
{{- define "operator.grants" -}}
{{- $grants := list -}}
{{- range $volume := .Values.volumes -}}
{{- range .grants -}}
{{- $folder := $volume.claimName -}}
{{- if .path -}}{{- $folder = printf "%s/%s" $folder .path -}}{{- end -}}
{{- $grants = append $grants (printf "%s=%s" .namespace $folder) -}}
{{- end -}}
{{- end -}}
{{- join "," $grants -}}
{{- end -}}

{{- /* The claims that only one node can mount, as JSON. */ -}}
{{- define "operator.onenode" -}}
{{- $claims := list -}}
{{- range .Values.volumes -}}
{{- if ne (default "ReadWriteOnce" .accessMode) "ReadWriteMany" -}}{{- $claims = append $claims .claimName -}}{{- end -}}
{{- end -}}
{{- toJson $claims -}}
{{- end -}}

{{- define "operator.image" -}}
{{- $missing := "image.repository is not set: build the image with `make image`, push it to a registry, and name it, as in --set image.repository=registry.example/fhir-export-operator." }}
{{- $repository := required $missing .Values.image.repository }}
{{- with .Values.global.imageRegistry }}
{{- /* The first segment names a registry if it could be a host, as in references of images. */ -}}
{{- $path := regexReplaceAll "^(localhost|[^/]*[.:][^/]*)/" $repository "" }}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) $path }}
{{- end }}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- /* The platform assigns the user on OpenShift, whose SCC restricted-v2 refuses any other. */ -}}
{{- define "operator.podsecurity" -}}
{{- $context := dict "runAsNonRoot" true "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- $assigned := .Capabilities.APIVersions.Has "security.openshift.io/v1" -}}
{{- if ternary (not $assigned) (eq (toString .Values.fixedUser) "true") (eq (toString .Values.fixedUser) "auto") -}}
{{- $context = merge $context (dict "runAsUser" 65532 "runAsGroup" 65532 "fsGroup" 65532) -}}
{{- end -}}
{{- /* Large volumes are not walked through at each start. */ -}}
{{- if .Values.volumes -}}
{{- $context = merge $context (dict "fsGroupChangePolicy" "OnRootMismatch") -}}
{{- end -}}
{{- toYaml (mergeOverwrite $context .Values.podSecurityContext) -}}
{{- end -}}

{{- define "operator.containersecurity" -}}
{{- $context := dict
  "allowPrivilegeEscalation" false
  "privileged" false
  "readOnlyRootFilesystem" true
  "runAsNonRoot" true
  "capabilities" (dict "drop" (list "ALL"))
  "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- toYaml (mergeOverwrite $context .Values.containerSecurityContext) -}}
{{- end -}}
