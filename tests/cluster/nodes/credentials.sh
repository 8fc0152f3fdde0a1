#!/bin/bash
# Every certificate and kubeconfig of the cluster, below $STATE/keys: one authority, one name for each program.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
mkdir -p "$KEYS"
cd "$KEYS"

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }

authority() {
  key "$1"
  openssl req -x509 -new -key "$1.key" -subj "/CN=$1" -days 30 -out "$1.crt" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature
}

# certificate NAME SUBJECT AUTHORITY USAGE [NAMES]
certificate() {
  key "$1"
  {
    echo basicConstraints=CA:FALSE
    echo "extendedKeyUsage=$4"
    if [ -n "${5:-}" ]; then echo "subjectAltName=$5"; fi
  } > "$1.extensions"
  openssl req -new -key "$1.key" -subj "$2" 2> "$1.log" |
    openssl x509 -req -CA "$3.crt" -CAkey "$3.key" -CAcreateserial -days 30 -extfile "$1.extensions" -out "$1.crt" 2>> "$1.log"
}

# config NAME SERVER: a kubeconfig for who has certificate NAME.
config() {
  cat > "$1.kubeconfig" << YAML
apiVersion: v1
kind: Config
current-context: test
clusters: [{name: test, cluster: {server: "https://$2:6443", certificate-authority-data: $(base64 -w0 ca.crt)}}]
users: [{name: test, user: {client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key")}}]
contexts: [{name: test, context: {cluster: test, user: test}}]
YAML
}

authority ca
authority front-ca
key service-accounts
openssl ec -in service-accounts.key -pubout -out service-accounts.pub 2> service-accounts.log
names=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,DNS:localhost
certificate apiserver /CN=kube-apiserver ca serverAuth "$names,IP:127.0.0.1,IP:$CONTROL_PLANE,IP:$KUBERNETES"
certificate kubelet-client "/O=system:masters/CN=apiserver" ca clientAuth
certificate front-client /CN=front-client front-ca clientAuth
certificate admin "/O=system:masters/CN=admin" ca clientAuth
certificate controllers /CN=system:kube-controller-manager ca clientAuth
certificate scheduler /CN=system:kube-scheduler ca clientAuth
certificate proxy /CN=system:kube-proxy ca clientAuth
certificate dns /CN=nsqube:dns ca clientAuth
certificate volumes /CN=nsqube:volumes ca clientAuth
for who in admin controllers scheduler dns; do config "$who" 127.0.0.1; done
for who in proxy volumes; do config "$who" "$CONTROL_PLANE"; done
for node in 1 2 3; do
  certificate "node$node" "/O=system:nodes/CN=system:node:node$node" ca clientAuth
  config "node$node" "$CONTROL_PLANE"
done
