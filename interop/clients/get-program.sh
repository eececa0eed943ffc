#!/bin/bash
# get-program.sh PACKAGE SUITE PROGRAM: unpacks a program of a Debian suite, with every library it needs, and installs nothing.
# Result: $I2P_TESTNET_CACHE/PACKAGE-SUITE/run, which starts PROGRAM with the unpacked ld.so, and VERSION.
# apt does it, with a state of its own: signatures are checked, and the machine's packages stay as they are.
set -euo pipefail
package=${1:?package}; suite=${2:?suite}; program=${3:?program}
cache=${I2P_TESTNET_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/i2p-testnet}
to=$cache/$package-$suite
[ -x "$to/run" ] && exit 0
mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep -E "/debian/?$" | head -1)   # the one that this machine uses
work=$(mktemp -d)
trap 'rm -rf "$work" "$to.new"' EXIT
rm -rf "$to" "$to.new"
mkdir -p "$to.new/root" "$work"/{state/lists/partial,cache/archives/partial,etc}
: > "$work/state/status"                  # nothing is installed: apt brings all that the program needs, libc included
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" > "$work/etc/sources.list"
apt=(apt-get -q -o Dir::Etc::SourceList="$work/etc/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o Dir::State="$work/state" -o Dir::State::status="$work/state/status" -o Dir::Cache="$work/cache"
    -o Acquire::Languages=none -o APT::Sandbox::User=root -o APT::Install-Recommends=false)
"${apt[@]}" update >&2
"${apt[@]}" -y --download-only install "$package" >&2
for deb in "$work"/cache/archives/*.deb; do
    name=$(dpkg-deb -f "$deb" Package)
    case $name in
        "$package") dpkg-deb -f "$deb" Version > "$to.new/VERSION" ;;
        lib*|gcc-*-base|zlib1g|openssl-provider*|qt6-*) ;;
        *) continue ;;                    # what only the scripts of packages need
    esac
    dpkg-deb --fsys-tarfile "$deb" | tar -C "$to.new/root" -x --keep-directory-symlink
done

loader=$(cd "$to.new/root" && find . -name 'ld-linux-*.so.2' | head -1)
# Some libraries are in folders of their own.
libraries=$(cd "$to.new/root" && find . -name 'lib*.so*' -printf "$to/root/%h\n" | sort -u | tr '\n' ':')
cat > "$to.new/run" <<END
#!/bin/sh
export QT_PLUGIN_PATH="$to/root/usr/lib/$(uname -m)-linux-gnu/qt6/plugins"
exec "$to/root/$loader" --library-path "$libraries" "$to/root/usr/bin/$program" "\$@"
END
chmod +x "$to.new/run"
mv "$to.new" "$to"
