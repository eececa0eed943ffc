#!/bin/sh
# Compiles Java's I2P router with its SAM bridge and its tunnels, and the program that tells what it counts, into FOLDER.
#   get-router.sh FOLDER
# I2P_JAVA names the sources: a checkout of i2p.i2p or a bare repository, of which I2P_JAVA_REVISION (default HEAD) is
# taken; without it they are cloned from their home.
set -eu
to=$1
here=$(cd "$(dirname "$0")" && pwd)
command -v javac >/dev/null || { echo "no javac: install Debian's openjdk-17-jdk-headless"; exit 3; }
if [ ! -e "$to/router/net/i2p/router/RouterLaunch.class" ]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    parts="core/java/src router/java/src apps/ministreaming/java/src apps/streaming/java/src apps/sam/java/src
        apps/i2ptunnel/java/src"
    from=${I2P_JAVA:-}
    if [ -z "$from" ]; then
        from=$work/clone
        timeout 300 git clone -q --depth 1 https://github.com/i2p/i2p.i2p "$from" ||
            { echo "Java's sources cannot be had: name them in I2P_JAVA"; exit 3; }
    fi
    mkdir "$work/source"
    if [ -d "$from/core" ]; then
        for part in $parts; do mkdir -p "$work/source/$part" && cp -r "$from/$part/." "$work/source/$part/"; done
    else
        # shellcheck disable=SC2086
        git --git-dir="$from" archive "${I2P_JAVA_REVISION:-HEAD}" -- $parts | tar x -C "$work/source"
    fi
    mkdir -p "$to/new"
    find "$work/source" -name '*.java' > "$work/files"
    javac -nowarn -encoding UTF-8 -d "$to/new" @"$work/files" 2> "$work/said" || { cat "$work/said"; exit 1; }
    # Texts that the router cannot begin without.
    for part in $parts; do
        (cd "$work/source/$part" && find . -name '*.properties' -exec cp --parents '{}' "$to/new" ';')
    done
    rm -rf "$to/router" && mv "$to/new" "$to/router"
fi
mkdir -p "$to/watch"
javac -nowarn -encoding UTF-8 -cp "$to/router" -d "$to/watch" "$here/Watch.java"
