# Installs Nadir for you: program, start menu, what opens .encoder and .index. `install.ps1 -Uninstall` takes it away.
# Your own data (%APPDATA%\nadir, %LOCALAPPDATA%\nadir) stays.
param([switch]$Uninstall)
$ErrorActionPreference = "Stop"
$target = Join-Path $env:LOCALAPPDATA "Programs\Nadir"
$shortcut = Join-Path ([Environment]::GetFolderPath("Programs")) "Nadir.lnk"
$classes = "HKCU:\Software\Classes"
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
    Remove-Item $target -Recurse -Force -ErrorAction SilentlyContinue
    Write-Output "Nadir is gone from $target. Your own data stays."
    exit 0
}

if (-not (Test-Path (Join-Path $PSScriptRoot "nadir.exe"))) {
    Write-Error "nadir.exe is not beside this script: unpack the whole archive, then run install.ps1 in it."
}
# Beside the place first, then moved: an installation that is interrupted leaves the old one whole.
$new = "$target.new"
Remove-Item $new -Recurse -Force -ErrorAction SilentlyContinue
Copy-Item $PSScriptRoot $new -Recurse
if (Test-Path "$target\nadir-gpu") { Move-Item "$target\nadir-gpu" "$new\nadir-gpu" }
Remove-Item $target -Recurse -Force -ErrorAction SilentlyContinue
Move-Item $new $target
$program = Join-Path $target "nadir.exe"
$link = (New-Object -ComObject WScript.Shell).CreateShortcut($shortcut)
$link.TargetPath = $program
$link.Save()
Remove-Kinds
foreach ($ending in $kinds.Keys) {
    $progid = $kinds[$ending]
    New-Item "$classes\$progid\shell\open\command" -Force -Value "`"$program`" `"%1`"" | Out-Null
    New-Item "$classes\$progid\DefaultIcon" -Force -Value "$program,0" | Out-Null
    New-Item "$classes\$ending\OpenWithProgids" -Force | Out-Null
    New-ItemProperty "$classes\$ending\OpenWithProgids" -Name $progid -Value "" -Force | Out-Null
}
# Encoders and indexes are folders: they are opened from the folder's own menu.
New-Item "$classes\Directory\shell\Nadir\command" -Force -Value "`"$program`" `"%1`"" | Out-Null
Set-Item "$classes\Directory\shell\Nadir" -Value "Open with Nadir"
New-ItemProperty "$classes\Directory\shell\Nadir" -Name Icon -Value "$program,0" -Force | Out-Null
New-Item "$classes\Applications\nadir.exe\shell\open\command" -Force -Value "`"$program`" `"%1`"" | Out-Null
Write-Output "Nadir is in $target and in the start menu. To take it away: $target\install.ps1 -Uninstall"
