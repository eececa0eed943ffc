#!/bin/sh
# Compiles Java's I2P client library (core, streaming) and the program over it into FOLDER.
#   get-java.sh FOLDER
# I2P_JAVA names the sources: a checkout of i2p.i2p or a bare repository, of which I2P_JAVA_REVISION (default HEAD) is
# taken; without it they are cloned from their home.
set -eu
to=$1
here=$(cd "$(dirname "$0")" && pwd)
command -v javac >/dev/null || { echo "no javac: install Debian's openjdk-17-jdk-headless"; exit 3; }
if [ ! -e "$to/library/net/i2p/client/I2PSession.class" ]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    parts="core/java/src apps/ministreaming/java/src apps/streaming/java/src"
    from=${I2P_JAVA:-}
    if [ -z "$from" ]; then
        from=$work/clone
        timeout 300 git clone -q --depth 1 https://github.com/i2p/i2p.i2p "$from" ||
            { echo "Java's sources cannot be had: name them in I2P_JAVA"; exit 3; }
    fi
    if [ -d "$from/core" ]; then
        for part in $parts; do mkdir -p "$work/$part" && cp -r "$from/$part/." "$work/$part/"; done
    else
        # shellcheck disable=SC2086
        git --git-dir="$from" archive "${I2P_JAVA_REVISION:-HEAD}" -- $parts | tar x -C "$work"
    fi
    find "$work/core" "$work/apps" -name '*.java' > "$work/files"
    mkdir -p "$to/new"
    javac -nowarn -encoding UTF-8 -d "$to/new" @"$work/files" 2> "$work/said" || { cat "$work/said"; exit 1; }
    rm -rf "$to/library" && mv "$to/new" "$to/library"
fi
mkdir -p "$to/program"
javac -nowarn -encoding UTF-8 -cp "$to/library" -d "$to/program" "$here/I2cp.java"
