#!/bin/sh
# Installs the real servers that tests/peers drives, and the exporter that `make bench` is measured against, with apt,
# and keeps their services from starting.
#
#   tests/peers-install.sh        as root, or as a user who may use sudo
#
# Quick and silent about nothing to do when all are there. Where there is no apt (macOS, other Linuxes) it says so and
# changes nothing; the tests then skip what is missing, or fail with CI=true.
set -eu

PACKAGES="postfix dovecot-core dovecot-imapd dovecot-pop3d dovecot-submissiond dovecot-lmtpd
prometheus prometheus-blackbox-exporter"
POLICY=/usr/sbin/policy-rc.d # invoke-rc.d(8) asks it before it starts a service; 101 means: do not

say() { echo "peers-install: $*" >&2; }

if ! command -v apt-get >/dev/null; then
    say "no apt-get here ($(uname -s)): nothing installed; tests of real mail servers need Debian or Ubuntu"
    exit 0
fi

missing=""
for package in $PACKAGES; do
    state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing="$missing $package"
done
if [ -z "$missing" ]; then
    say "all servers are installed"
    exit 0
fi

if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        say "needs root (there is no sudo) to install:$missing"
        exit 1
    fi
    say "asks sudo to install:$missing"
    exec sudo sh "$0"
fi

# Another policy may be in force (container images bring one): it is put back as it was.
saved=""
restore() {
    rm -f "$POLICY"
    [ -z "$saved" ] || mv "$saved" "$POLICY"
}
trap restore EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
if [ -e "$POLICY" ]; then
    saved="$POLICY.before-peers-install"
    mv "$POLICY" "$saved"
fi
printf '#!/bin/sh\nexit 101\n' >"$POLICY"
chmod 755 "$POLICY"

export DEBIAN_FRONTEND=noninteractive
case $missing in
*postfix*) echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections ;;
esac
say "installs:$missing"
apt-get update --quiet --quiet
# shellcheck disable=SC2086 # a list of words
apt-get install --quiet --quiet --yes --no-install-recommends $missing

# Nor are they to start at the next boot. A service that was here before is not touched.
if command -v systemctl >/dev/null; then
    for package in $missing; do
        case $package in
        dovecot-core) service=dovecot ;;
        dovecot-*) continue ;; # parts of the one service
        *) service=$package ;;
        esac
        systemctl disable --quiet "$service" 2>/dev/null || say "could not disable $service"
    done
fi
