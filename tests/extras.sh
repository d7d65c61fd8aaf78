#!/usr/bin/env bash
# Install what only a few tests ask for, as root on Debian: for machines of CI. Never fails: where a package is not to be had,
# the tests that need it are skipped and name it.
set -uo pipefail

readonly TIMEOUT_S=900
# Package, the program that it brings, what is not tested without it.
readonly EXTRAS="prometheus promtool the alarms are not raised
chromium chromium the pages are not looked at
docker-compose docker-compose the Compose files are not read
iproute2 ip no three hosts are played"

say() { printf 'extras: %s\n' "$*" >&2; }

install() { DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 timeout "$TIMEOUT_S" apt-get "$@" </dev/null >/dev/null 2>&1; }

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "nothing is installed: that takes root and apt-get"
    exit 0
fi
updated=""
while read -r package program without; do
    command -v "$program" >/dev/null && continue
    [ -n "$updated" ] || install update -qq || say "apt-get update failed"
    updated=1
    say "installing $package"
    install install -y -qq --no-install-recommends "$package" || say "there is no $package: $without"
done <<<"$EXTRAS"
exit 0
