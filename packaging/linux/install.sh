#!/bin/sh
# Install Nadir for you, or with --system for everybody; --uninstall takes it away again.
set -eu
umask 022

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
    folder=$HOME/.local/lib/nadir bin=$HOME/.local/bin share=$HOME/.local/share
    case ${XDG_DATA_HOME:-} in /*) share=$XDG_DATA_HOME ;; esac
fi
list=$folder/installed-files.txt     # what we have put outside $folder
made=$folder/installed-folders.txt   # and the folders that were not there before

refresh() {
    # The desktop's own lists; where a tool is missing, the desktop finds the files by itself, only later.
    [ ! -d "$share/applications" ] || update-desktop-database -q "$share/applications" 2>/dev/null || :
    [ ! -d "$share/mime" ] || { mkdir -p "$share/mime/packages" && update-mime-database "$share/mime"; } >/dev/null 2>&1 || :
    [ ! -d "$share/icons/hicolor" ] || gtk-update-icon-cache -q -t -f "$share/icons/hicolor" 2>/dev/null || :
}

remove_empty_lists() {
    # What the desktop's tools have written beside our files alone; another program's file keeps all of it.
    if [ -d "$share/mime/packages" ] && [ -z "$(ls -A "$share/mime/packages")" ]; then
        for file in XMLnamespaces aliases generic-icons globs globs2 icons magic mime.cache subclasses treemagic types version; do
            rm -f -- "$share/mime/$file"
        done
        rmdir -- "$share/mime/application" 2>/dev/null || :
    fi
    for file in applications/mimeinfo.cache icons/hicolor/icon-theme.cache; do
        holder=$share/${file%/*}
        [ ! -f "$share/$file" ] || [ "$(ls -A "$holder")" != "${file##*/}" ] || rm -f -- "$share/$file"
    done
}

have_folder() { # have a folder, and note those that had to be made for it, the outermost first
    [ ! -d "$1" ] || return 0
    have_folder "$(dirname -- "$1")"
    mkdir -- "$1"
    printf '%s\n' "$1" >>"$made_now"
}

remove_made() { # the innermost first; what somebody else has put something into stays
    [ -f "$1" ] || return 0
    awk '{line[NR] = $0} END {for (at = NR; at; at--) print line[at]}' "$1" | while IFS= read -r path; do
        rmdir -- "$path" 2>/dev/null || :
    done
}

refuse_while_running() {
    real=$(readlink -f -- "$folder") || return 0
    for process in /proc/[0-9]*; do # the program itself; trainings run in another Python, which stands in our folder
        for link in exe cwd; do
            case $link:$(readlink "$process/$link" 2>/dev/null) in
            exe:"$real"/* | cwd:"$real"/_internal*)
                echo "Nadir is running from $folder (process ${process#/proc/}): quit it first, with its builds and trainings." >&2
                exit 1
                ;;
            esac
        done
    done
}

folder_opener() { xdg-mime query default inode/directory 2>/dev/null || :; }

remove_listed() {
    [ -f "$list" ] || return 0
    while IFS= read -r file; do
        rm -f -- "$file"
    done <"$list"
}

if [ "$what" = uninstall ]; then
    if [ ! -f "$list" ]; then
        echo "Nadir is not installed in $folder." >&2
        exit 1
    fi
    refuse_while_running
    remove_listed
    refresh
    remove_empty_lists
    kept=$(mktemp)
    [ ! -f "$made" ] || cp -- "$made" "$kept"
    rm -rf -- "$folder"
    remove_made "$kept"
    rm -f -- "$kept"
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
made_now=$(mktemp)
finished=
leave() {
    rm -rf -- "$folder.new"
    [ -n "$finished" ] || remove_made "$made_now"
    rm -f -- "$made_now"
}
trap leave EXIT
trap 'exit 130' HUP INT TERM
[ ! -f "$made" ] || cp -- "$made" "$made_now" # of the installation that is renewed
for path in "$(dirname -- "$folder")" "$bin" "$share"; do have_folder "$path"; done
free=$(df -Pk "$(dirname -- "$folder")" | awk 'NR == 2 {print $4}')
if [ "$free" -lt $((need + 20000)) ]; then
    echo "$(dirname -- "$folder") has $((free / 1000)) MB free; $((need / 1000 + 20)) MB are needed." >&2
    exit 1
fi
is_anothers() { # whether something stands at a path that no installation of ours has put there
    { [ -e "$1" ] || [ -L "$1" ]; } && ! { [ -f "$list" ] && grep -qxF -- "$1" "$list"; }
}
if is_anothers "$bin/nadir"; then
    echo "$bin/nadir is another program's: move it elsewhere first." >&2
    exit 1
fi
(cd "$here/share" && find . -type f) | while IFS= read -r file; do
    if is_anothers "$share/${file#./}"; then
        echo "$share/${file#./} is another program's: move it elsewhere first." >&2
        exit 1
    fi
done

# Beside the place first, then moved: an installation that is interrupted leaves the old one whole.
new=$folder.new
rm -rf -- "$new"
cp -R -- "$here/nadir" "$new"
chmod -R go+rX,go-w -- "$new"
cp -- "$here/install.sh" "$new/install.sh"
: >"$new/${list##*/}"
for old in "$folder/nadir-gpu"; do # what the user put beside the program moves along
    [ ! -d "$old" ] || cp -R -- "$old" "$new/"
done
remove_listed
rm -rf -- "$folder"
mv -- "$new" "$folder"

put() { # put SOURCE TARGET; listed first, so that nothing of ours is ever taken for another's
    have_folder "$(dirname -- "$2")"
    printf '%s\n' "$2" >>"$list"
    cp -- "$1" "$2"
    chmod 644 -- "$2"
}
opener=$(folder_opener)
(cd "$here/share" && find . -type f) | while IFS= read -r file; do
    put "$here/share/$file" "$share/${file#./}"
done
# In quotes for Exec=, whose "%" is doubled; then for sed, to which "&", "|" and "\" mean something.
quoted=$(printf '%s' "$folder/nadir" | sed -e 's/["`$\\]/\\&/g' -e 's/\\/\\\\/g' -e 's/%/%%/g' -e 's/[&|\\]/\\&/g')
for entry in nadir zz-nadir-folder; do
    sed "s|^Exec=nadir |Exec=\"$quoted\" |" "$here/share/applications/$entry.desktop" >"$share/applications/$entry.desktop"
done
printf '%s\n' "$bin/nadir" >>"$list"
ln -sfn -- "$folder/nadir" "$bin/nadir"
cp -- "$made_now" "$made"
finished=yes
# The uninstaller knows which kind of installation it belongs to.
if [ "$where" = system ]; then
    printf '#!/bin/sh\nexec sh "%s/install.sh" --uninstall --system\n' "$folder" >"$folder/uninstall.sh"
else
    printf '#!/bin/sh\nexec sh "%s/install.sh" --uninstall\n' "$folder" >"$folder/uninstall.sh"
fi
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
