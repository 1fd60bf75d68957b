# Sourced by the scripts: what Debian packages they need, and how they get there.

# install_packages build|test|demo|compare|faults|bench-NAME: makes sure that the Debian packages for that purpose are installed. Where it may
# not install them it prints the one command that does, and fails.
install_packages() {
    local wanted=(libsnappy-dev libssl-dev zlib1g-dev) missing=() package
    case $1 in
    test) wanted+=(python3 python3-venv faketime) ;;
    demo | bench-failover) wanted+=(python3 python3-venv) ;;
    compare) wanted+=(python3 etcd-server nghttp2-client postgresql) ;;
    bench-replication) wanted+=(python3 etcd-server nghttp2-client) ;;
    bench-documents) wanted+=(python3 python3-venv postgresql) ;;
    bench-storage) wanted+=(python3 rocksdb-tools) ;;
    bench-groups) wanted+=(python3 python3-venv) ;;
    faults)
        wanted+=(python3 python3-venv)
        # For the faults that only root can have.
        [ "$(id -u)" != 0 ] || wanted+=(faketime nftables iproute2 gcc)
        ;;
    esac
    command -v swift >/dev/null || { echo "Swift 6.3 is needed: https://www.swift.org/install" >&2; return 1; }
    for package in "${wanted[@]}"; do
        case $package in
        python3) command -v python3 >/dev/null && continue ;;
        python3-venv) python3 -c 'import venv, ensurepip' 2>/dev/null && continue ;;
        esac
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    local install="apt-get install -y ${missing[*]}" as=()
    if [ "$(id -u)" != 0 ]; then
        if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then as=(sudo -n); else
            echo "These packages are missing; install them with: sudo $install" >&2
            return 1
        fi
    fi
    echo "installing ${missing[*]} ..."
    ${as[@]+"${as[@]}"} apt-get update -qq
    DEBIAN_FRONTEND=noninteractive ${as[@]+"${as[@]}"} apt-get install -y -qq "${missing[@]}" >/dev/null
}

# python_environment FOLDER PACKAGE...: a Python environment of the project's own with those packages.
python_environment() {
    local folder=$1
    shift
    [ -x "$folder/bin/python" ] || python3 -m venv "$folder"
    "$folder/bin/python" -m pip install -q --disable-pip-version-check "$@"
}
