#!/bin/sh
# Print the Python that posepipe will use: 3.10 to 3.12, able to make virtual environments.
# PYTHON=... chooses one. When there is none, say on stderr what to install and exit 1.
set -u

sudo=""
[ "$(id -u)" = 0 ] || sudo="sudo "
seen=""
without_venv=""

for candidate in ${PYTHON:-python3.12 python3.11 python3.10 python3}; do
    # Run it: a version manager's shim is on the PATH even when there is no such Python behind it.
    version=$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    case "$version" in
        3.10 | 3.11 | 3.12)
            if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
                command -v "$candidate"
                exit 0
            fi
            without_venv="${without_venv:-$version}"
            ;;
        *) seen="$seen $candidate is $version;" ;;
    esac
done

if [ -n "$without_venv" ]; then
    echo "Python $without_venv is here but cannot make virtual environments. Install what is missing:" \
        "${sudo}apt-get install python$without_venv-venv" >&2
elif [ -n "${PYTHON:-}" ]; then
    echo "PYTHON=$PYTHON is not a Python 3.10, 3.11 or 3.12 (${seen:- it does not run}). Name another one." >&2
else
    echo "posepipe needs Python 3.10, 3.11 or 3.12, and there is none (${seen:- no python3 at all})." \
        "Install one: ${sudo}apt-get install python3 python3-venv, or name yours: make demo PYTHON=/path/to/python3.12" >&2
fi
exit 1
