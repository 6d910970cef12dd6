#!/bin/sh
# Install Nadir for you, or with --system for everybody; --uninstall takes it away again.
set -eu

usage() {
    cat <<'TEXT'
./install.sh               install for you: ~/.local/lib/nadir, with a launcher and the command `nadir`
./install.sh --system      install for everybody (as root): /opt/nadir, /usr/local
./install.sh --uninstall [--system]
                           take Nadir away; your settings, trainings and indexes stay
TEXT
}

here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
what=install
where=user
for word in "$@"; do
    case $word in
    --system) where=system ;;
    --uninstall) what=uninstall ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
    esac
done

if [ "$where" = system ]; then
    [ "$(id -u)" = 0 ] || { echo "Installing for everybody needs root: sudo $0 --system" >&2; exit 1; }
    folder=/opt/nadir bin=/usr/local/bin share=/usr/local/share
else
    [ -n "${HOME:-}" ] || { echo "HOME is not set: there is no place to install to." >&2; exit 1; }
    folder=$HOME/.local/lib/nadir bin=$HOME/.local/bin share=${XDG_DATA_HOME:-$HOME/.local/share}
fi
list=$folder/installed-files.txt

refresh() {
    # The desktop's own lists; where a tool is missing, the desktop finds the files by itself, only later.
    [ ! -d "$share/applications" ] || update-desktop-database -q "$share/applications" 2>/dev/null || :
    [ ! -d "$share/mime" ] || { mkdir -p "$share/mime/packages" && update-mime-database "$share/mime"; } >/dev/null 2>&1 || :
    [ ! -d "$share/icons/hicolor" ] || gtk-update-icon-cache -q -t -f "$share/icons/hicolor" 2>/dev/null || :
}

remove_empty_lists() {
    # What the desktop's tools have written beside our files alone; another program's file keeps all of it.
    if rmdir -- "$share/mime/packages" 2>/dev/null; then
        for file in XMLnamespaces aliases generic-icons globs globs2 icons magic mime.cache subclasses treemagic types version; do
            rm -f -- "$share/mime/$file"
        done
    fi
    for file in applications/mimeinfo.cache icons/hicolor/icon-theme.cache; do
        folder_=$share/${file%/*}
        [ ! -f "$share/$file" ] || [ "$(ls -A "$folder_")" != "${file##*/}" ] || rm -f -- "$share/$file"
    done
    for folder_ in mime/application mime applications icons/hicolor icons; do
        rmdir -- "$share/$folder_" 2>/dev/null || :
    done
}

refuse_while_running() {
    for process in /proc/[0-9]*; do
        if [ "$(readlink "$process/exe" 2>/dev/null)" = "$folder/nadir" ]; then
            echo "Nadir is running from $folder (process ${process#/proc/}): quit it first, with its builds." >&2
            exit 1
        fi
    done
}

folder_opener() { xdg-mime query default inode/directory 2>/dev/null || :; }

remove_listed() {
    [ -f "$list" ] || return 0
    while IFS= read -r file; do
        rm -f -- "$file"
        parent=$(dirname -- "$file")
        while rmdir -- "$parent" 2>/dev/null; do parent=$(dirname -- "$parent"); done
    done <"$list"
}

if [ "$what" = uninstall ]; then
    if [ ! -f "$list" ]; then
        echo "Nadir is not installed in $folder." >&2
        exit 1
    fi
    refuse_while_running
    remove_listed
    rm -rf -- "$folder"
    rmdir -- "$(dirname -- "$folder")" 2>/dev/null || :
    refresh
    remove_empty_lists
    echo "Nadir is gone from $folder. Your own data stays: see ~/.config/nadir and ~/.local/share/nadir."
    exit 0
fi

if [ ! -x "$here/nadir/nadir" ]; then
    echo "The program is not beside this script: unpack the whole archive, then run install.sh in it." >&2
    exit 1
fi
if [ -e "$folder" ] && [ ! -f "$list" ]; then
    echo "$folder is there already, and was not made by this script. If it is Nadir's Debian package, take that" >&2
    echo "away first (sudo apt remove nadir); else move the folder elsewhere." >&2
    exit 1
fi
refuse_while_running
need=$(du -sk "$here/nadir" | cut -f1)
mkdir -p -- "$(dirname -- "$folder")" "$bin" "$share"
free=$(df -Pk "$(dirname -- "$folder")" | awk 'NR == 2 {print $4}')
if [ "$free" -lt $((need + 20000)) ]; then
    echo "$(dirname -- "$folder") has $((free / 1000)) MB free; $((need / 1000 + 20)) MB are needed." >&2
    exit 1
fi
if [ -e "$bin/nadir" ] && [ ! -L "$bin/nadir" ]; then
    echo "$bin/nadir is another program's: move it elsewhere first." >&2
    exit 1
fi

# Beside the place first, then moved: an installation that is interrupted leaves the old one whole.
new=$folder.new
rm -rf -- "$new"
trap 'rm -rf -- "$new"' EXIT
trap 'exit 130' HUP INT TERM
cp -R -- "$here/nadir" "$new"
chmod -R go+rX,go-w -- "$new"
cp -- "$here/install.sh" "$new/uninstall.sh"
for old in "$folder/nadir-gpu"; do # what the user put beside the program moves along
    [ ! -d "$old" ] || cp -R -- "$old" "$new/"
done
remove_listed
rm -rf -- "$folder"
mkdir -p -- "$(dirname -- "$folder")" "$bin" "$share"
mv -- "$new" "$folder"
trap - EXIT

: >"$list"
put() { # put SOURCE TARGET
    mkdir -p -- "$(dirname -- "$2")"
    cp -- "$1" "$2"
    chmod 644 -- "$2"
    printf '%s\n' "$2" >>"$list"
}
opener=$(folder_opener)
(cd "$here/share" && find . -type f) | while IFS= read -r file; do
    put "$here/share/$file" "$share/${file#./}"
done
for entry in nadir zz-nadir-folder; do
    sed "s|^Exec=nadir |Exec=\"$folder/nadir\" |" "$here/share/applications/$entry.desktop" >"$share/applications/$entry.desktop"
done
ln -sfn -- "$folder/nadir" "$bin/nadir"
printf '%s\n' "$bin/nadir" >>"$list"
# The uninstaller knows which kind of installation it belongs to.
if [ "$where" = system ]; then
    printf '#!/bin/sh\nexec sh "%s/install.sh" --uninstall --system\n' "$folder" >"$folder/uninstall.sh"
else
    printf '#!/bin/sh\nexec sh "%s/install.sh" --uninstall\n' "$folder" >"$folder/uninstall.sh"
fi
cp -- "$here/install.sh" "$folder/install.sh"
chmod 755 -- "$folder/uninstall.sh" "$folder/install.sh"
refresh
# Your own entries go before the system's: folders must not open in Nadir from now on.
if [ "$where" = user ] && { [ -z "$opener" ] || [ "$(folder_opener)" = zz-nadir-folder.desktop ]; }; then
    rm -f -- "$share/applications/zz-nadir-folder.desktop"
    refresh
    [ -n "$opener" ] || echo "No program for folders is known here: open encoders and indexes from within Nadir."
fi

missing=$(find "$folder/_internal/PySide6/Qt" \( -name 'libQt6WebEngineCore.so*' -o -name 'libqxcb.so' \) \
    -exec ldd {} \; 2>/dev/null | awk '/not found/ {print $1}' | sort -u | tr '\n' ' ')
if [ -n "$missing" ]; then
    echo "Installed, but this system lacks libraries that the window needs: $missing"
    echo "Install them with your system's package manager."
fi
case :$PATH: in
*:"$bin":*) ;;
*) echo "$bin is not on your PATH: start Nadir from the desktop's menu, or as $bin/nadir." ;;
esac
echo "Nadir is in $folder. To take it away again: $folder/uninstall.sh"
