#!/bin/sh
# One image for both services. The commands of the connector that this replaces (`npm run main`, `npm run price`) work as they are.
set -eu
case "$*" in
    user | "npm run main") exec dramatiq workers.user --processes 1 --threads 8 --worker-shutdown-timeout 30000 ;;
    price | "npm run price") exec dramatiq workers.price --processes 1 --threads 4 --worker-shutdown-timeout 30000 ;;
    *) exec "$@" ;;
esac
