#!/bin/sh
# Makes what docker-compose.yml reads from deploy/secrets/: passwords drawn now, the sandboxes' published credentials, a
# certificate for localhost. A file that is there stays; put real ones in their place and run it again for the rest.
set -eu
umask 077
folder=${1:-$(dirname "$0")/../secrets}
mkdir -p "$folder"
cd "$folder"

keep() { [ -f "$1" ] || printf '%s' "$2" >"$1"; }
draw() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

keep postgres_password "$(draw)"
keep store_url "postgresql://hub:$(cat postgres_password)@postgres:5432/hub"
keep api_token "$(draw)"
keep k3_acct_id 64a1f0c2b7d3e9
keep k3_user_name hub
keep k3_app_id 300001_aHViLXNhbmRib3gtY2xpZW50LWtleS0x
keep k3_app_secret 5f0e3c1a9b7d24681357ace086429bdf
keep wecom_secret sandbox-only-app-secret-000000000000000000k
keep wecom_token SandboxToken123
keep wecom_encoding_aes_key abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG
if [ ! -f tls_key ]; then
  openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=localhost -keyout tls_key -out tls_certificate 2>/dev/null
fi
chmod 644 ./*                              # containers read them under other users; the folder keeps others out
chmod 700 .
