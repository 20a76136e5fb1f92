# What the scripts share: Debian packages, the Swift toolchain, the build. Sourced, not run.
# PARATPM_BUILD_DIR names another place for the build (default: .build in the source tree).

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build_dir=$(realpath -m "${PARATPM_BUILD_DIR:-$root/.build}")

# What building and testing need besides the Swift toolchain.
build_packages=(pkg-config libtss2-dev libseccomp-dev libssl-dev)
test_packages=(swtpm swtpm-tools tpm2-tools libtss2-tcti-swtpm0 openssl python3-cryptography)

die() {
  echo "$(basename "$0"): $*" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Installs the Debian packages that are missing; touches nothing when all are there.
need_packages() {
  local package missing=()
  command -v dpkg-query >/dev/null || { echo "Not a Debian system: $* (or their like) must be there already" >&2; return 0; }
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] || command -v sudo >/dev/null ||
    die "the packages ${missing[*]} are missing: run this as root, or install them with apt-get install"
  echo "Installing ${missing[*]}"
  install_packages "${missing[@]}" || { as_root apt-get update -qq && install_packages "${missing[@]}"; } ||
    die "cannot install ${missing[*]}"
}

install_packages() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null </dev/null
}

need_swift() {
  command -v swift >/dev/null || die "no swift on PATH: install the Swift toolchain, 6.1 or later (https://www.swift.org/install/linux/)"
  local version
  version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\.[0-9]*\).*/\1/p')
  [ "$(printf '%s\n' 6.1 "$version" | sort -V | head -n 1)" = 6.1 ] || die "swift is version ${version:-unknown}: 6.1 or later is needed"
}

# Builds what users run, and sets `programs` to the directory that it is in.
build_release() {
  need_packages "${build_packages[@]}"
  need_swift
  echo "Building (release)"
  local log=$build_dir/build.log
  mkdir -p "$build_dir"
  swift build --package-path "$root" --scratch-path "$build_dir" -c release --static-swift-stdlib --disable-local-rpath \
    >"$log" 2>&1 </dev/null || { grep -E 'error|warning: unre' "$log" | head -n 40 >&2; die "the build failed; all of it is in $log"; }
  programs=$(cd "$build_dir/release" && pwd -P)
}
