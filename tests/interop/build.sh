#!/usr/bin/env bash
# Builds other people's programs into target/interop/bin, from the modules in
# this folder: Zarf in three releases, helm, cosign, crane, oras, grype with
# syft, and the conformance suite of the distribution specification; with
# `cluster` also an API server and what it takes to run one. What go.sum says
# was built already is not built again.
#
#   build.sh [cluster]    builds; AIRGAP_INTEROP names the modules that are enough
#   build.sh check        says whether this machine's Go can
set -euo pipefail
cd "$(dirname "$0")"
bin=$(cd ../.. && mkdir -p target/interop/bin && cd target/interop/bin && pwd)

# The `go` line of a module is the oldest Go that builds it.
needed=$(sed -n 's/^go //p' ./*/go.mod | sort -V | tail -n 1)

can_build() {
  command -v go >/dev/null || { echo "Go is not installed; $needed or newer is needed"; return 1; }
  local have
  have=$(cd / && go env GOVERSION)
  [ "$(printf '%s\n' "$needed" "${have#go}" | sort -V | head -n 1)" = "$needed" ] && return 0
  # From 1.26 on the newer toolchain is fetched, where that is allowed.
  case $(go env GOTOOLCHAIN) in
    auto* | *+auto | *+path) [[ $have =~ ^go1\.(2[6-9]|[3-9][0-9]) ]] && return 0 ;;
  esac
  echo "Go ${have#go} is too old; $needed or newer is needed"
  return 1
}

version_of() { (cd "$1" && go list -m -f '{{.Version}}' "$2"); }

# build <module> <name> <package> [flags of the linker]
build() {
  local begun=$SECONDS
  (cd "$1" && go build -mod=readonly -ldflags "-s -w ${4:-}" -o "$bin/$2" "$3")
  echo "  $2 ($((SECONDS - begun)) s)"
}

zarf() {
  local version
  version=$(version_of "$1" github.com/zarf-dev/zarf)
  build "$1" "zarf-${version#v}" github.com/zarf-dev/zarf "-X github.com/zarf-dev/zarf/src/config.CLIVersion=$version"
}

# What a module builds. helm, cosign and crane are those that Zarf itself is
# made with.
programs() {
  case $1 in
    zarf-0.84)
      zarf zarf-0.84
      build zarf-0.84 helm helm.sh/helm/v4/cmd/helm
      build zarf-0.84 cosign github.com/sigstore/cosign/v3/cmd/cosign
      build zarf-0.84 crane github.com/google/go-containerregistry/cmd/crane
      ;;
    zarf-*) zarf "$1" ;;
    oras) build oras oras oras.land/oras/cmd/oras ;;
    grype)
      build grype grype github.com/anchore/grype/cmd/grype
      build grype syft github.com/anchore/syft/cmd/syft
      build grype grype-database ./database
      # Databases of RPM as systems left them, for what no test can make.
      rm -rf "$bin/../rpm" && cp -r "$(cd grype && go list -m -f '{{.Dir}}' github.com/anchore/go-rpmdb)/pkg/testdata" "$bin/../rpm"
      chmod -R u+w "$bin/../rpm"
      ;;
    conformance) build conformance conformance github.com/opencontainers/distribution-spec/conformance ;;
    kubernetes)
      for program in kube-apiserver kube-controller-manager; do
        build kubernetes "$program" "k8s.io/kubernetes/cmd/$program" "$(kubernetes_version)"
      done
      ;;
    kwok)
      build kwok kwok sigs.k8s.io/kwok/cmd/kwok
      stages >"$bin/../stages.yaml"
      ;;
  esac
}

# What kwok says of nodes and pods, as its own module has it.
stages() {
  local folder stage
  folder=$(cd kwok && go list -m -f '{{.Dir}}' sigs.k8s.io/kwok)/kustomize/stage
  for stage in "$folder"/{node/fast,node/heartbeat-with-lease,pod/fast}/{node,pod}-*.yaml; do
    [ ! -e "$stage" ] || { echo "---" && cat "$stage"; }
  done
}

kubernetes_version() {
  local version
  version=$(version_of kubernetes k8s.io/kubernetes)
  printf ' -X k8s.io/component-base/version.%s' "gitVersion=$version" "gitMajor=1" "gitMinor=$(cut -d . -f 2 <<<"$version")"
}

if [ "${1:-}" = check ]; then
  can_build
  exit
fi
why=$(can_build) || { echo "error: $why" >&2; exit 1; }
read -ra modules <<<"${AIRGAP_INTEROP:-zarf-0.84 oras conformance grype zarf-0.83 zarf-0.75}"
[ "${1:-}" != cluster ] || modules=(zarf-0.84 kubernetes kwok)
for module in "${modules[@]}"; do
  stamp=$bin/../$module.stamp
  now=$(cat build.sh "$module/go.mod" "$module/go.sum" <(cd / && go env GOVERSION GOARCH) | sha256sum)
  [ "$(cat "$stamp" 2>/dev/null)" != "$now" ] || continue
  echo "building $module"
  programs "$module"
  echo "$now" >"$stamp"
done
