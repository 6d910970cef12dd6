# Installs Nadir for you: program, start menu, what opens .encoder and .index. `install.ps1 -Uninstall` takes it away.
# Where Windows does not let it run: powershell -ExecutionPolicy Bypass -File install.ps1
# Your own data (%APPDATA%\nadir, %LOCALAPPDATA%\nadir) stays.
param([switch]$Uninstall)
$ErrorActionPreference = "Stop"
$target = Join-Path $env:LOCALAPPDATA "Programs\Nadir"
$shortcut = Join-Path ([Environment]::GetFolderPath("Programs")) "Nadir.lnk"
$classes = "HKCU:\Software\Classes"
$photos = ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".avif", ".heic"
$kinds = @{ ".encoder" = "Nadir.Encoder"; ".index" = "Nadir.Index" }

function Remove-Kinds {
    foreach ($ending in $kinds.Keys) {
        $progid = $kinds[$ending]
        Remove-Item "$classes\$progid" -Recurse -Force -ErrorAction SilentlyContinue
        Remove-ItemProperty "$classes\$ending\OpenWithProgids" -Name $progid -ErrorAction SilentlyContinue
    }
    Remove-Item "$classes\Directory\shell\Nadir" -Recurse -Force -ErrorAction SilentlyContinue
    Remove-Item "$classes\Applications\nadir.exe" -Recurse -Force -ErrorAction SilentlyContinue
}

if ($Uninstall) {
    Remove-Kinds
    Remove-Item $shortcut -Force -ErrorAction SilentlyContinue
    Set-Location $env:TEMP  # Windows takes away no folder that somebody stands in
    Remove-Item $target -Recurse -Force -ErrorAction SilentlyContinue
    if (Test-Path $target) {
        Write-Error "Something in $target is in use: close Nadir, then run this again."
    }
    Write-Output "Nadir is gone from $target. Your own data stays."
    exit 0
}

if (-not (Test-Path (Join-Path $PSScriptRoot "nadir.exe"))) {
    Write-Error "nadir.exe is not beside this script: unpack the whole archive, then run install.ps1 in it."
}
if ($PSScriptRoot -ne $target) {
    # Beside the place first, then moved: an installation that is interrupted leaves the old one whole.
    $new = "$target.new"
    $old = "$target.old"
    if (Test-Path $old) {
        # Left by an installation that was interrupted.
        if (-not (Test-Path $target)) { Move-Item $old $target }
        elseif (-not (Test-Path "$target\nadir-gpu") -and (Test-Path "$old\nadir-gpu")) {
            Move-Item "$old\nadir-gpu" "$target\nadir-gpu"
        }
    }
    Remove-Item $new, $old -Recurse -Force -ErrorAction SilentlyContinue
    New-Item (Split-Path $target) -ItemType Directory -Force | Out-Null
    Copy-Item $PSScriptRoot $new -Recurse
    if (Test-Path $target) {
        try { Move-Item $target $old } catch {
            Write-Error "Something in $target is in use: close Nadir, then run this again."
        }
    }
    Move-Item $new $target
    if (-not (Test-Path "$target\nadir-gpu") -and (Test-Path "$old\nadir-gpu")) {
        Move-Item "$old\nadir-gpu" "$target\nadir-gpu"
    }
    Remove-Item $old -Recurse -Force -ErrorAction SilentlyContinue
}
$program = Join-Path $target "nadir.exe"
$link = (New-Object -ComObject WScript.Shell).CreateShortcut($shortcut)
$link.TargetPath = $program
$link.Save()
Remove-Kinds
foreach ($ending in $kinds.Keys) {
    $progid = $kinds[$ending]
    New-Item "$classes\$progid\shell\open\command" -Force -Value "`"$program`" `"%1`"" | Out-Null
    New-Item "$classes\$progid\DefaultIcon" -Force -Value "$program,0" | Out-Null
    # A key that is there may hold other programs: New-Item -Force would empty it.
    if (-not (Test-Path "$classes\$ending\OpenWithProgids")) {
        New-Item "$classes\$ending\OpenWithProgids" -Force | Out-Null
    }
    New-ItemProperty "$classes\$ending\OpenWithProgids" -Name $progid -Value "" -Force | Out-Null
}
# Encoders and indexes are folders: they are opened from the folder's own menu.
New-Item "$classes\Directory\shell\Nadir\command" -Force -Value "`"$program`" `"%1`"" | Out-Null
Set-Item "$classes\Directory\shell\Nadir" -Value "Open with Nadir"
New-ItemProperty "$classes\Directory\shell\Nadir" -Name Icon -Value "$program,0" -Force | Out-Null
New-Item "$classes\Applications\nadir.exe\shell\open\command" -Force -Value "`"$program`" `"%1`"" | Out-Null
# Without this Windows does not offer Nadir for photos.
New-Item "$classes\Applications\nadir.exe\SupportedTypes" -Force | Out-Null
foreach ($ending in $photos) {
    New-ItemProperty "$classes\Applications\nadir.exe\SupportedTypes" -Name $ending -Value "" -Force | Out-Null
}
Write-Output "Nadir is in $target and in the start menu. To take it away: $target\install.ps1 -Uninstall"
