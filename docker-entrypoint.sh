#!/bin/sh
# One image for both services. The commands of the connector that this replaces (`npm run main`, `npm run price`) work as they are.
set -eu
case "$*" in
    user | "npm run main") exec connector serve user ;;
    price | "npm run price") exec connector serve price ;;
    *) exec "$@" ;;
esac
