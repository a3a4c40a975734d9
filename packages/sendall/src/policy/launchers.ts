/**
 * Programs that start other programs, and how: what a rule grants with them is more than its words say. Classes and
 * programs as GTFOBins lists them (https://gtfobins.github.io).
 */

/** What a program does with a caller's words. */
export type LaunchClass =
  /** Runs a text, a file or its stdin as a program. */
  | 'shell'
  /** Starts the program that its words or its files name. */
  | 'command'
  /** On a terminal it starts a shell, an editor or a pager. */
  | 'inherit'
  /** Loads code from a file. */
  | 'library-load'
  /** Writes a file that its words name. */
  | 'file-write';

export interface Launch {
  readonly class: LaunchClass;
  /** Options or words that make it do so; absent: it does so with any words. */
  readonly by?: readonly string[];
}

const words = (text: string): string[] => text.split(/\s+/).filter(Boolean);

const shells = words(`
  R ash bash bpftrace bun busybox clisp csh dash dc deno easy_install ed elvish emacs ex expect fish gawk ghc ghci gnuplot
  groovy guile irb java jjs jrunscript jshell julia ksh latex lua lualatex luajit luatex mawk awk nawk node nodejs octave
  pdflatex pdftex perl php pic pry psql puppet pwsh python rc ruby sash scala sed sh slsh sqlite3 tclsh tcsh tex vi view
  vim nvim vimdiff rview rvim wish yash zsh gdb lldb mysql mariadb m4 osascript pdb msfconsole sqlmap bc scanmem xonsh nu
`);
const commands = words(`
  aa-exec acr agetty ansible ansible-playbook ansible-test aoss arch-nspawn asterisk at autoconf autoheader autoreconf batch
  bconsole bundle cabal capsh cargo cdist certbot chcon choom chroot chrt cmake codex composer cpulimit crash cron crontab
  csvtool ctr dbus-run-session debugfs dhclient distcc dmsetup dnf doas docker dotnet dpkg-reconfigure easyrsa env exec
  fail2ban-client fakeroot firejail flock forge gem genie go gradle gtester helm incus ionice kubectl knife ksu latexmk ld.so
  ltrace lxc lxd machinectl make gmake mosh-server multitime mvn nerdctl needrestart neofetch nice ninja nohup npm npx nsenter
  numactl openvt parallel perf perlbug pexec pip pipx pkexec pkg plymouth pnpm podman poetry procmail rake restic rlwrap rpm
  rpmdb rpmquery rpmverify rsyslogd run-parts runscript runuser rustup run-mailcap scons screen script service setarch setlock
  setpriv setsid sg snap softlimit ssh-agent sshpass sshuttle start-stop-daemon stdbuf strace su sudo sudoedit sshfs
  systemd-run systemd-nspawn task taskset tasksh time timeout tmate tmux torify torsocks uv unshare unsquashfs vagrant valgrind
  virsh volatility watch wg-quick xargs xdg-user-dir xdotool yarn yum zic zypper entr inotifywait opkg logsave grc pidstat
`);
const interactive = words(`
  apport-cli aptitude aws batcat bat bee cowsay dmesg dpkg dstat facter ftp fzf gcloud gimp hping3 htop iftop ispell joe jtag
  less lftp loginctl man minicom more most nano ncdu ncftp pg pinfo psftp ranger rtorrent sftp smbclient systemd-resolve
  tdbtool telnet timedatectl top vigr vipw w3m lynx links mc wireshark zless bzless xzless zathura visudo
`);

const option = (cls: LaunchClass, by: string): Launch => ({ class: cls, by: words(by) });

/** Programs that do it by certain options or words. */
const byOption: Readonly<Record<string, readonly Launch[]>> = {
  'apt-get': [
    option('command', '-o --option -c --config-file install remove purge upgrade dist-upgrade build-dep source'),
  ],
  apt: [option('command', '-o --option -c --config-file install remove purge upgrade full-upgrade')],
  aria2c: [
    option('command', '--on-download-complete --on-download-error --on-download-start --on-bt-download-complete'),
  ],
  borg: [option('command', '--rsh --remote-path')],
  busctl: [option('command', 'call set-property'), { class: 'inherit' }],
  check_by_ssh: [option('command', '-o --ssh-option -C')],
  check_ssl_cert: [option('command', '--grep-bin --openssl --curl-bin')],
  cpio: [option('command', '--rsh-command -F --file'), option('file-write', '-i --extract -p --pass-through -O')],
  cp: [option('file-write', '-t --target-directory --backup')],
  curl: [
    option('file-write', '-o --output -O --remote-name --output-dir -c --cookie-jar -D --dump-header --trace'),
    option('library-load', '--engine -K --config'),
  ],
  date: [option('file-write', '-s --set')],
  dd: [option('file-write', 'of')],
  dnsmasq: [option('command', '--conf-script --dhcp-script -C --conf-file')],
  dpkg: [
    option('command', '-i --install --unpack --configure --pre-invoke --post-invoke -r --remove -P --purge'),
    { class: 'inherit' },
  ],
  dvips: [option('command', '-R0')],
  enscript: [option('command', '-I --filter')],
  exiftool: [option('shell', '-if -config -p'), option('file-write', '-o -w')],
  fastfetch: [option('command', '-c --config')],
  ffmpeg: [option('library-load', '-af -vf -filter -filter_complex -lavfi')],
  find: [
    option('command', '-exec -execdir -ok -okdir'),
    option('file-write', '-fprint -fprint0 -fprintf -fls -delete'),
  ],
  gcc: [
    option('command', '-wrapper -B -specs --specs'),
    option('library-load', '-fplugin'),
    option('file-write', '-o'),
  ],
  git: [
    option(
      'command',
      '-c -C --exec-path --git-dir --work-tree --config-env --upload-pack --receive-pack -u --exec --ext-diff --textconv -x --open-files-in-pager -O bisect difftool mergetool rebase submodule commit clone fetch pull push hook config help',
    ),
    { class: 'inherit' },
  ],
  hg: [option('command', '--config --config-file -R --repository --cwd')],
  ip: [option('command', 'exec netns vrf -b -batch')],
  journalctl: [
    { class: 'inherit' },
    option('file-write', '--cursor-file --vacuum-size --vacuum-time --vacuum-files --rotate'),
  ],
  ldconfig: [option('library-load', '-f -C -r')],
  logrotate: [option('command', '-m --mail'), option('file-write', '-s --state -l --log'), { class: 'command' }],
  mail: [option('command', '--exec -A --attach -f --file'), { class: 'inherit' }],
  man: [option('command', '-H --html -P --pager -C --config-file'), { class: 'inherit' }],
  msgfilter: [{ class: 'command' }],
  nc: [option('command', '-e -c --exec --sh-exec')],
  ncat: [option('command', '-e -c --exec --sh-exec --lua-exec')],
  nginx: [option('library-load', '-c -g -p')],
  nmap: [option('shell', '--script --interactive --datadir'), option('file-write', '-oN -oX -oG -oA -oS')],
  nroff: [option('command', '-U')],
  openssl: [
    option('library-load', '-engine -provider -provider-path -config engine'),
    option('file-write', '-out -keyout -writerand'),
  ],
  openvpn: [option('command', '--up --down --route-up --ipchange --tls-verify --config --script-security --plugin')],
  pandoc: [option('shell', '-L --lua-filter -F --filter -o --output --pdf-engine')],
  rsync: [
    option('command', '-e --rsh --rsync-path -M --remote-option --daemon --config'),
    option('file-write', '--log-file --write-batch --backup-dir --partial-dir -T --temp-dir'),
  ],
  rustc: [option('command', '-C --codegen'), option('file-write', '-o --out-dir'), { class: 'inherit' }],
  scp: [option('command', '-S -o -F -D')],
  scrot: [option('command', '-e --exec')],
  sort: [option('command', '--compress-program'), option('file-write', '-o --output -T --temporary-directory')],
  socat: [{ class: 'command' }],
  split: [option('command', '--filter')],
  ssh: [{ class: 'command' }],
  'ssh-keygen': [option('library-load', '-D -w'), option('file-write', '-f')],
  'ssh-add': [option('library-load', '-s -e')],
  sysctl: [option('command', '-w --write -p --load --system kernel.core_pattern kernel.modprobe')],
  systemctl: [
    option(
      'command',
      'edit link enable reenable preset start-transient set-environment import-environment set-property daemon-reexec switch-root kexec --root -H --host -M --machine',
    ),
    { class: 'inherit' },
  ],
  tar: [
    option(
      'command',
      '--checkpoint-action --to-command -I --use-compress-program -F --info-script --new-volume-script --rsh-command --rmt-command',
    ),
    // Where it writes, -C says; that alone reads from there.
    option('file-write', '-x --extract --get -P --absolute-names --transform --xform x xf xvf xzf xvzf xzvf xjf xJf'),
  ],
  tcpdump: [option('command', '-z'), option('file-write', '-w -W')],
  tee: [{ class: 'file-write' }],
  tshark: [option('shell', '-X'), option('file-write', '-w')],
  unzip: [option('file-write', '-o -d -:')],
  'update-alternatives': [
    option('command', '--install --set --config'),
    option('file-write', '--altdir --admindir --log'),
  ],
  wget: [
    option('command', '--use-askpass -e --execute --config'),
    option(
      'file-write',
      '-O --output-document -o --output-file -a --append-output -P --directory-prefix -i --input-file',
    ),
  ],
  'yt-dlp': [option('command', '--exec --exec-before-download --downloader --config-location')],
  zip: [option('command', '-TT --unzip-command')],
};

const launchers = new Map<string, readonly Launch[]>([
  ...shells.map((name) => [name, [{ class: 'shell' }]] as const),
  ...commands.map((name) => [name, [{ class: 'command' }]] as const),
  ...interactive.map((name) => [name, [{ class: 'inherit' }]] as const),
  ...Object.entries(byOption),
]);

/** What is known of a program, by the last part of its path: python3.11 is python. */
export function launchesOf(name: string): readonly Launch[] {
  return launchers.get(name) ?? launchers.get(name.replace(/[-.]?\d[\d.]*$/, '')) ?? [];
}

/** Programs that make more of a word than a name: what they take it for. */
const expanders: Readonly<Record<string, string>> = {
  systemctl: 'names without an ending are services, and other endings are other things: web-1.target, web-.slice',
  journalctl: 'a unit is a pattern there, and web matches web.service',
  'apt-get': 'a name may be a regular expression, and one with - or + at its end is removed or installed',
  apt: 'a name may be a regular expression, and one with - or + at its end is removed or installed',
  dnf: 'a name may be a group (@name) or a file',
  yum: 'a name may be a group (@name) or a file',
  pip: 'a name may be an address (name@…)',
  npm: 'a name may be an address (name@…)',
  pkill: 'a name is a regular expression, and a part of a name matches',
  pgrep: 'a name is a regular expression, and a part of a name matches',
  killall: 'a name may be a file',
  git: 'a word may be a branch, a path or a pattern (:…)',
  rsync: 'host:path is on another machine',
  scp: 'host:path is on another machine',
  tar: 'a file name with a colon is on another machine',
  curl: 'file:… reads files of this machine',
  docker: 'name:tag and name@digest are other images',
};
export const expansionOf = (name: string): string | undefined =>
  Object.hasOwn(expanders, name) ? expanders[name] : undefined;
