# Sourced by the commands beside it: sets $python to a Python of at least 3.11, or ends with what to do.
python=
for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.14 python; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "Whispr needs Python 3.11 or newer (on Debian: apt-get install python3 python3-pip). PYTHON=/path/to/python3 names one." >&2
    exit 1
fi
