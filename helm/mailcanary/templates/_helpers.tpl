{{- define "mailcanary.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{/* At most 52 characters: a StatefulSet adds 11 for a label of its pods, which may have 63. */}}
{{- define "mailcanary.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "mailcanary.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "mailcanary.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* What never changes in the life of a release. */}}
{{- define "mailcanary.selectorLabels" -}}
app.kubernetes.io/name: {{ include "mailcanary.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "mailcanary.labels" -}}
{{- $own := include "mailcanary.selectorLabels" . | fromYaml }}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") }}
{{- $_ := set $own "app.kubernetes.io/version" .Chart.AppVersion }}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service }}
{{- toYaml (merge $own .Values.commonLabels) }}
{{- end }}

{{- define "mailcanary.podLabels" -}}
{{- toYaml (merge (include "mailcanary.selectorLabels" . | fromYaml) .Values.podLabels .Values.commonLabels) }}
{{- end }}

{{- define "mailcanary.image" -}}
{{- with .Values.image }}
{{- if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) }}
{{- end }}
{{- end }}
{{- end }}

{{/* The file that the daemon reads: the values, and what only the chart can know. */}}
{{- define "mailcanary.configuration" -}}
{{- $chart := dict "store" "sqlite:///var/lib/mailcanary/state.db" "web" (dict "listen" (printf "%s:9925" .Values.listenAddress)) }}
{{- toYaml (merge $chart (deepCopy .Values.config)) }}
{{- end }}

{{/* Every place of the configuration where a reference to a secret stands: its path and what is there, as a YAML list. */}}
{{- define "mailcanary.references" -}}
{{- range $name, $app := .Values.config.apps }}
{{- $at := printf "config.apps.%s.credential" $name }}
{{- if not (kindIs "invalid" $app.credential.secret) }}
- {{ dict "at" (printf "%s.secret" $at) "value" $app.credential.secret | toJson }}
{{- end }}
{{- with $app.credential.certificate }}
{{- if not (kindIs "invalid" .passphrase) }}
- {{ dict "at" (printf "%s.certificate.passphrase" $at) "value" .passphrase | toJson }}
{{- end }}
{{- end }}
{{- with $app.credential.refresh_token }}
{{- if not (kindIs "invalid" .secret) }}
- {{ dict "at" (printf "%s.refresh_token.secret" $at) "value" .secret | toJson }}
{{- end }}
{{- end }}
{{- end }}
{{- range $name, $inbox := .Values.config.inboxes }}
{{- if not (kindIs "invalid" $inbox.password) }}
- {{ dict "at" (printf "config.inboxes.%s.password" $name) "value" $inbox.password | toJson }}
{{- end }}
{{- end }}
{{- with .Values.config.network }}
{{- if not (kindIs "invalid" .proxy) }}
- {{ dict "at" "config.network.proxy" "value" .proxy | toJson }}
{{- end }}
{{- end }}
{{- with .Values.config.alerts }}
{{- range $name, $channel := .channels }}
- {{ dict "at" (printf "config.alerts.channels.%s.url" $name) "value" $channel.url | toJson }}
{{- end }}
{{- end }}
{{- end }}

{{/* Fails for every secret that stands in the values themselves, and repeats none. */}}
{{- define "mailcanary.refuseSecrets" -}}
{{- $wrong := list }}
{{- range include "mailcanary.references" . | fromYamlArray }}
{{- if not (and (kindIs "string" .value) (regexMatch "(?s)^(env|file|cmd):." .value)) }}
{{- $wrong = append $wrong .at }}
{{- end }}
{{- end }}
{{- if $wrong }}
{{- fail (printf "expected a reference (env:NAME, file:PATH or cmd:COMMAND), since secrets do not stand in the values: %s" (join ", " $wrong)) }}
{{- end }}
{{- end }}

{{/* The names behind every env: of the configuration, in one line. */}}
{{- define "mailcanary.variables" -}}
{{- $names := list }}
{{- range include "mailcanary.references" . | fromYamlArray }}
{{- if hasPrefix "env:" .value }}
{{- $names = append $names (trimPrefix "env:" .value) }}
{{- end }}
{{- end }}
{{- $names | uniq | sortAlpha | join ", " }}
{{- end }}
