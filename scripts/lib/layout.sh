# Where paratpm's files are once installed; install, uninstall and package agree here. Sourced, not run.

daemons=(paratpm-device paratpm-pcr paratpm-policy paratpm-guest paratpm-proxy)
# swtpm_setup and swtpm_ioctl are links to this; swtpm is one to paratpm-guest.
dropin_tools=paratpm-swtpm

# Reads --prefix, --destdir and --programs, and sets the directories.
read_layout() {
  prefix=/usr/local
  while [ $# -gt 0 ]; do
    case $1 in
      --prefix) prefix=${2:?"$1 needs a directory"}; shift 2 ;;
      --destdir) destdir=${2:?"$1 needs a directory"}; shift 2 ;;
      --programs) programs=$(realpath "${2:?"$1 needs a directory"}"); shift 2 ;;
      --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
      *) die "unknown argument $1; see --help" ;;
    esac
  done
  case $prefix in /*) ;; *) die "--prefix must be an absolute path" ;; esac
  [ -z "${destdir:-}" ] || destdir=$(realpath -m "$destdir")
  bin=$prefix/bin libexec=$prefix/libexec/paratpm share=$prefix/share
  # systemd looks below /usr and /usr/local; what lives elsewhere is announced in /etc.
  case $prefix in
    /usr | /usr/local) lib=$prefix/lib ;;
    *) lib=/etc ;;
  esac
}

# put MODE SOURCE TARGET
put() { install -D -m "$1" "$2" "$destdir$3"; }

link() {
  mkdir -p "$destdir$(dirname "$2")"
  ln -sfn "$1" "$destdir$2"
}
