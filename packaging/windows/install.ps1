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
        Remove-Item -LiteralPath "$classes\$progid" -Recurse -Force -ErrorAction SilentlyContinue
        Remove-ItemProperty -LiteralPath "$classes\$ending\OpenWithProgids" -Name $progid -ErrorAction SilentlyContinue
    }
    Remove-Item -LiteralPath "$classes\Directory\shell\Nadir" -Recurse -Force -ErrorAction SilentlyContinue
    Remove-Item -LiteralPath "$classes\Applications\nadir.exe" -Recurse -Force -ErrorAction SilentlyContinue
}

if ($Uninstall) {
    Remove-Kinds
    Remove-Item -LiteralPath $shortcut -Force -ErrorAction SilentlyContinue
    Set-Location -LiteralPath $env:TEMP  # Windows takes away no folder that somebody stands in
    Remove-Item -LiteralPath $target -Recurse -Force -ErrorAction SilentlyContinue
    if (Test-Path -LiteralPath $target) {
        Write-Error "Something in $target is in use: close Nadir, then run this again."
    }
    Write-Output "Nadir is gone from $target. Your own data stays."
    exit 0
}

if (-not (Test-Path -LiteralPath (Join-Path $PSScriptRoot "nadir.exe"))) {
    Write-Error "nadir.exe is not beside this script: unpack the whole archive, then run install.ps1 in it."
}
if ($PSScriptRoot -ne $target) {
    # Beside the place first, then moved: an installation that is interrupted leaves the old one whole.
    $new = "$target.new"
    $old = "$target.old"
    if (Test-Path -LiteralPath $old) {
        # Left by an installation that was interrupted.
        if (-not (Test-Path -LiteralPath $target)) { Move-Item -LiteralPath $old $target }
        elseif (-not (Test-Path -LiteralPath "$target\nadir-gpu") -and (Test-Path -LiteralPath "$old\nadir-gpu")) {
            Move-Item -LiteralPath "$old\nadir-gpu" "$target\nadir-gpu"
        }
    }
    Remove-Item -LiteralPath $new, $old -Recurse -Force -ErrorAction SilentlyContinue
    New-Item (Split-Path -LiteralPath $target) -ItemType Directory -Force | Out-Null
    Copy-Item -LiteralPath $PSScriptRoot $new -Recurse
    if (Test-Path -LiteralPath $target) {
        try { Move-Item -LiteralPath $target $old } catch {
            Write-Error "Something in $target is in use: close Nadir, then run this again."
        }
    }
    Move-Item -LiteralPath $new $target
    if (-not (Test-Path -LiteralPath "$target\nadir-gpu") -and (Test-Path -LiteralPath "$old\nadir-gpu")) {
        Move-Item -LiteralPath "$old\nadir-gpu" "$target\nadir-gpu"
    }
    Remove-Item -LiteralPath $old -Recurse -Force -ErrorAction SilentlyContinue
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
    if (-not (Test-Path -LiteralPath "$classes\$ending\OpenWithProgids")) {
        New-Item "$classes\$ending\OpenWithProgids" -Force | Out-Null
    }
    New-ItemProperty -LiteralPath "$classes\$ending\OpenWithProgids" -Name $progid -Value "" -Force | Out-Null
}
# Encoders and indexes are folders: they are opened from the folder's own menu.
New-Item "$classes\Directory\shell\Nadir\command" -Force -Value "`"$program`" `"%1`"" | Out-Null
Set-Item -LiteralPath "$classes\Directory\shell\Nadir" -Value "Open with Nadir"
New-ItemProperty -LiteralPath "$classes\Directory\shell\Nadir" -Name Icon -Value "$program,0" -Force | Out-Null
New-Item "$classes\Applications\nadir.exe\shell\open\command" -Force -Value "`"$program`" `"%1`"" | Out-Null
# Without this Windows does not offer Nadir for photos.
New-Item "$classes\Applications\nadir.exe\SupportedTypes" -Force | Out-Null
foreach ($ending in $photos) {
    New-ItemProperty -LiteralPath "$classes\Applications\nadir.exe\SupportedTypes" -Name $ending -Value "" -Force | Out-Null
}
Write-Output "Nadir is in $target and in the start menu. To take it away: $target\install.ps1 -Uninstall"
