#!/bin/sh
# Runs once before the roles start: brings the store to this version's schema and takes secrets out of their files.
# A file /run/secrets/k3_app_id becomes the secret k3-app-id; an unchanged one makes no new version.
set -eu
folder=${SECRETS_DIR:-/run/secrets}
hub migrate
hub secrets load "$folder"/api_token "$folder"/k3_* "$folder"/wecom_*
