# shellcheck shell=bash
# Defines `install FILE...`, which creates .venv if necessary and installs the requirements in the
# files. run.sh and test.sh source this script from the root of the repository.
# PYTHON=/path/to/python selects another interpreter, CONSTRAINTS=FILE a file of exact versions.

find_python() {
  local name
  for name in ${PYTHON:-} python3.13 python3.12 python3.11 python3 python; do
    if "$name" -c \
      'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
      echo "$name"
      return
    fi
  done
  echo "error: no Python 3.11, 3.12 or 3.13 found; install one, or name it:" \
    "PYTHON=/path/to/python $0" >&2
  return 1
}

install() {
  local python stamp=.venv/installed
  python=$(find_python) || exit 1
  if [ ! -x .venv/bin/python ]; then
    echo "making .venv with $("$python" --version) ..."
    if ! "$python" -m venv .venv; then
      echo "error: $python cannot make a virtual environment (on Debian: apt install" \
        "python3-venv)" >&2
      exit 1
    fi
  fi
  if ! cat "$@" ${CONSTRAINTS:+"$CONSTRAINTS"} | cmp -s - "$stamp"; then
    echo "installing the requirements into .venv (once; about a minute) ..."
    local files=(${CONSTRAINTS:+-c "$CONSTRAINTS"}) file
    for file in "$@"; do files+=(-r "$file"); done
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "${files[@]}" || exit 1
    cat "$@" ${CONSTRAINTS:+"$CONSTRAINTS"} >"$stamp"
  fi
}
