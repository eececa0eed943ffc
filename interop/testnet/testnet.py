#!/usr/bin/env python3
"""testnet.py - a private I2P network of real i2pd routers on one machine (python3 stdlib only).

  testnet.py up   [--routers 12 --floodfills 5 --peer sid|trixie|bookworm|a,b,.. --net netns|loopback ...]
  testnet.py status [--json]        one line per router, scraped from the i2pd web consoles
  testnet.py wait [--timeout 120]   until the eepsite answers through HTTP proxy / client tunnel; prints seconds
  testnet.py prove                  fetch by b32 through HTTP proxy, SOCKS5, SAM and a client tunnel
  testnet.py bench [--hops 0,1,2,3 --enc 4 --mb 32 --runs 3 ...]   JSON lines to RUN/bench.jsonl
  testnet.py seed                   (re)write RUN/seed/*.dat, seeds.zip, seeds.su3 from the live routers
  testnet.py attach NAME [--ip A]   make a netns + address for a foreign router; prints JSON of what it needs (`--nat KIND`: behind a translator of its own)
  testnet.py nat NAME KIND          what its translator does from now on: full-cone, address-restricted, port-restricted, symmetric, closed
  testnet.py renumber NAME          its translator gets another public address, and forgets all mappings; prints it
  testnet.py add-ri FILE            put a foreign router.info into every i2pd netDb (needs restart: --restart)
  testnet.py exec NAME CMD..        run CMD inside a router's (or attached) namespace
  testnet.py link [--router r03] [--rate 10mbit] [--delay-ms 50 --jitter-ms 5 --loss 1]   shape links ('--clear' undoes)
  testnet.py rtt r00 r01            round trip of the emulated link (TCP connect)
  testnet.py newsite FILE           restart the eepsite's router and the client with a new destination kept in FILE; prints its b32
  testnet.py restart r03 [..]       restart routers (--loglevel debug)    testnet.py loglevel debug [r03 ..]
  testnet.py why [--ident B64|--ip A]  grep all i2pd logs for reject/error reasons
  testnet.py down                   stop everything (only pids recorded in the state file)
State lives in --run (default: i2p-testnet/run under the temporary folder).  Everything is stopped by `down`; nothing is daemonised outside it.
"""
import argparse, base64, binascii, ctypes, hashlib, html, io, json, os, re, shutil, signal, socket, ssl, statistics, struct
import subprocess, sys, threading, time, urllib.parse, zipfile

CACHE = os.environ.get("I2P_TESTNET_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "i2p-testnet")
PEERS = {s: f"{CACHE}/i2pd-{s}/run-i2pd" for s in ("sid", "trixie", "bookworm")}
DEFAULT_RUN = os.path.join(__import__("tempfile").gettempdir(), "i2p-testnet", "run")
def version_of(suite, _seen={}):
    """(major, minor) of an unpacked i2pd: the config depends on it, and Debian sid moves on"""
    if suite not in _seen:
        m = re.search(r"version (\d+)\.(\d+)", subprocess.run([PEERS[suite], "--version"], capture_output=True, text=True).stdout)
        _seen[suite] = (int(m[1]), int(m[2])) if m else (2, 59)
    return _seen[suite]
HERE = os.path.dirname(os.path.abspath(__file__))
GATEWAY = "169.254.0.1"                        # where namespaces send all, where one router forwards
NSP = "i2n-"                                   # prefix of network namespaces
B64STD = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
B64I2P = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-~"

def i2pb64(b): return base64.b64encode(b).translate(bytes.maketrans(B64STD, B64I2P)).decode()
def sh(*a, check=True, quiet=False):
    r = subprocess.run(a, capture_output=True, text=True)
    if check and r.returncode: raise SystemExit(f"{' '.join(a)}: rc={r.returncode} {r.stderr.strip()}")
    return r
def log(*a): print(time.strftime("%H:%M:%S"), *a, file=sys.stderr, flush=True)
def mmm(v): return dict(min=min(v), med=statistics.median(v), max=max(v), n=len(v)) if v else None

# ---- sockets inside another network namespace (setns is per thread; we switch back at once) ----
_libc = ctypes.CDLL(None, use_errno=True); _nslock = threading.Lock()
def ns_socket(ns, fam=socket.AF_INET, typ=socket.SOCK_STREAM, proto=0):
    if not ns: return socket.socket(fam, typ, proto)
    with _nslock:
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY); there = os.open(f"/run/netns/{ns}", os.O_RDONLY)
        try:
            if _libc.setns(there, 0x40000000): raise OSError(ctypes.get_errno(), "setns")
            try: return socket.socket(fam, typ, proto)
            finally: _libc.setns(here, 0x40000000)
        finally: os.close(here); os.close(there)
def connect(r, port, timeout=30):
    s = ns_socket(r["ns"]); s.settimeout(timeout)
    try: s.connect((r["svc"], port))
    except BaseException: s.close(); raise
    return s
def http_get(r, port, path, host="localhost", timeout=30, sink=None, conn=None):
    """minimal HTTP/1.1 GET over a socket in r's namespace; returns (status, body|nbytes, ttfb)"""
    t0 = time.monotonic(); s = conn or connect(r, port, timeout)
    try:
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: {'keep-alive' if conn else 'close'}\r\n\r\n".encode())
        buf = b""
        while b"\r\n\r\n" not in buf:
            d = s.recv(65536)
            if not d: raise OSError("closed before headers: %r" % buf[:80])
            buf += d
        ttfb = time.monotonic() - t0
        head, body = buf.split(b"\r\n\r\n", 1); status = int(head.split()[1])
        m = re.search(rb"(?i)content-length: (\d+)", head); want = int(m.group(1)) if m else None
        n = len(body); parts = [body]
        while want is None or n < want:
            d = s.recv(262144)
            if not d: break
            n += len(d)
            if sink is None: parts.append(d)
        if want is not None and n < want: raise OSError(f"short body {n}/{want}")
        return status, (n if sink is not None else b"".join(parts)), ttfb
    finally:
        if not conn: s.close()

# ---- parsing i2pd files ----
def ri_info(data):
    """identity hash and properties of a router.info"""
    n = 387 + struct.unpack(">H", data[385:387])[0]; h = hashlib.sha256(data[:n]).digest()
    props = {k: (re.search(rb"%s=.([^;]*);" % k.encode(), data) or [b"", b""])[1].decode("latin1") for k in ("caps", "netId", "router.version")}
    # the last caps= in the file is the router one
    c = re.findall(rb"caps=.([A-Za-z0-9]*);", data); props["caps"] = c[-1].decode() if c else ""
    return i2pb64(h), props
def keys_b32(path):
    d = open(path, "rb").read(); n = 387 + struct.unpack(">H", d[385:387])[0]
    return base64.b32encode(hashlib.sha256(d[:n]).digest()).decode().lower().rstrip("=")

class Net:
    def __init__(s, run): s.run = os.path.abspath(run); s.f = s.run + "/state.json"; s.st = json.load(open(s.f)) if os.path.exists(s.f) else None
    def save(s):
        tmp = s.f + ".tmp"; json.dump(s.st, open(tmp, "w"), indent=1); os.replace(tmp, s.f)
    def need(s):
        if not s.st: raise SystemExit("no testnet here; run `up` first")
        return s.st
    def r(s, name):
        """a router of the network by name, or what is needed of an attached one"""
        st = s.need()
        for x in st["routers"]:
            if x["name"] == name: return x
        if name in st["attached"]: return dict(name=name, ip=st["attached"][name], port=st["routers"][0]["port"], ns=NSP + name if st["net"] == "netns" else None)
        raise SystemExit(f"no router '{name}' here; there are: " + " ".join([x["name"] for x in st["routers"]] + list(st["attached"])))
    def server(s): return s.r(s.st["server"])
    def client(s): return s.r(s.st["client"])

    # -- network --
    def net_up(s):
        if s.st["net"] != "netns": return
        sh("ip", "netns", "add", NSP + "sw"); sh("ip", "-n", NSP + "sw", "link", "add", "br0", "type", "bridge"); sh("ip", "-n", NSP + "sw", "link", "set", "br0", "up")
        if s.routed(): sh("ip", "netns", "exec", NSP + "sw", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
        for r in s.st["routers"]:
            s.ns_add(r["name"], r["ip"])
            if r.get("families") == "6": sh("ip", "-n", NSP + r["name"], "-4", "addr", "flush", "dev", "eth0")
            if r.get("families") == "4": sh("ip", "-n", NSP + r["name"], "-6", "addr", "flush", "dev", "eth0")
    def routed(s):
        """with public addresses one router forwards all instead of a bridge: each namespace then knows one neighbour, and not each other one. The table
        of neighbours holds 1,024 entries, which all namespaces of a machine share, and 35 routers that all know each other would fill it"""
        return s.st["ip_plan"] == "public"
    def ns_add(s, name, ip):
        """netns + veth to the bridge; /32 address and an on-link default route: every address is reachable by ARP on the bridge, nothing leaves it"""
        ns = NSP + name; sw = NSP + "sw"
        sh("ip", "netns", "add", ns)
        sh("ip", "-n", sw, "link", "add", "v" + name, "type", "veth", "peer", "name", "eth0", "netns", ns)
        if s.routed():
            sh("ip", "-n", sw, "addr", "add", GATEWAY + "/32", "dev", "v" + name); sh("ip", "-n", sw, "link", "set", "v" + name, "up"); sh("ip", "-n", sw, "route", "add", ip + "/32", "dev", "v" + name)
        else: sh("ip", "-n", sw, "link", "set", "v" + name, "master", "br0", "up")
        sh("ip", "-n", ns, "link", "set", "lo", "up")
        sh("ip", "-n", ns, "addr", "add", ip + "/32", "dev", "eth0"); sh("ip", "-n", ns, "link", "set", "eth0", "up")
        sh("ip", "-n", ns, "route", "add", "default", *(["via", GATEWAY, "onlink"] if s.routed() else []), "dev", "eth0")
        if s.st.get("ipv6"): sh("ip", "-n", ns, "-6", "addr", "add", ip6_of(ip) + "/128", "dev", "eth0", "nodad"); sh("ip", "-n", ns, "-6", "route", "add", "default", "dev", "eth0")
        if s.st.get("cc"): sh("ip", "netns", "exec", ns, "sysctl", "-qw", "net.ipv4.tcp_congestion_control=" + s.st["cc"])    # per namespace; bbr would hide loss from NTCP2
    def nat_up(s, name, ip):
        """a translator with the public address on the bridge, and behind it the router's namespace with a private one"""
        out, ns, n = NSP + name + "n", NSP + name, len(s.st["attached"]) + 1; inside = f"192.168.{n}.2"
        s.ns_add(name + "n", ip); sh("ip", "netns", "exec", out, "sysctl", "-qw", "net.ipv4.ip_forward=1"); sh("ip", "netns", "add", ns)
        sh("ip", "-n", out, "link", "add", "lan0", "type", "veth", "peer", "name", "eth0", "netns", ns)
        sh("ip", "-n", out, "addr", "add", f"192.168.{n}.1/24", "dev", "lan0"); sh("ip", "-n", out, "link", "set", "lan0", "up")
        sh("ip", "-n", ns, "link", "set", "lo", "up"); sh("ip", "-n", ns, "addr", "add", inside + "/24", "dev", "eth0"); sh("ip", "-n", ns, "link", "set", "eth0", "up")
        sh("ip", "-n", ns, "route", "add", "default", "via", f"192.168.{n}.1")
        return inside
    def net_down(s):
        if s.st["net"] != "netns": return
        for n in s.st.get("nats", {}): sh("ip", "netns", "del", NSP + n + "n", check=False)
        for n in [r["name"] for r in s.st["routers"]] + list(s.st.get("attached", {})) + ["sw"]: sh("ip", "netns", "del", NSP + n, check=False)

    # -- router config --
    def conf(s, r):
        st = s.st; v = version_of(r["peer"]); b = lambda x: "true" if x else "false"
        t2 = "ntcp2" in st["transports"] or st["transports"] == "both"; u2 = "ssu2" in st["transports"] or st["transports"] == "both"
        cl = r["name"] == st["client"]
        o = [f"log = file", f"logfile = {r['dir']}/i2pd.log", f"loglevel = {r.get('loglevel', st['loglevel'])}", "logclftime = false",
             f"ipv4 = {b(r.get('families') != '6')}", f"ipv6 = {b(st.get('ipv6') and r.get('families') != '4')}", f"address6 = {ip6_of(r['ip'])}" if st.get("ipv6") and r.get("families") != "4" else "", f"netid = {st['netid']}",
             f"address4 = {r['ip']}" if r.get("families") != "6" else "", f"host = {r['ip'] if r.get('families') != '6' else ip6_of(r['ip'])}", f"port = {r['port']}", "nat = false", f"reservedrange = {b(st['ip_plan']=='public')}",
             f"notransit = {b(r['notransit'])}", f"floodfill = {b(r['ff'])}", f"bandwidth = {st['bandwidth']}", "share = 100"]
        o += ["[limits]", "transittunnels = 5000", "[upnp]", "enabled = false", "[precomputation]", "elgamal = false",
              "[reseed]", "verify = false", "threshold = 0", "urls =", "yggurls =", f"zipfile = {s.run}/seeds.zip" if os.path.exists(s.run + "/seeds.zip") else "",
              "[addressbook]", "enabled = false" if v >= (2, 47) else "defaulturl =", "subscriptions =",
              "[http]", "enabled = true", f"address = {r['svc']}", "port = 7070", "strictheaders = false"] + (["showTotalTCSR = true"] if v >= (2, 50) else [])
        for p, port in (("httpproxy", 4444), ("socksproxy", 4447)):
            o += [f"[{p}]", f"enabled = {b(cl)}"]
            if cl: o += [f"address = {r['svc']}", f"port = {port}"] + [f"{d}.{k} = {x}" for d in ("inbound", "outbound") for k, x in (("length", st["hops"]), ("quantity", 3))]
        o += ["[sam]", "enabled = true", f"address = {r['svc']}", "port = 7656", "[i2cp]", "enabled = true", f"address = {r['svc']}", "port = 7654", "[bob]", "enabled = false",
              "[exploratory]"] + [f"{d}.{k} = {x}" for d in ("inbound", "outbound") for k, x in (("length", st["expl_hops"]), ("quantity", 3))]
        o += ["[ntcp2]", f"enabled = {b(t2)}", f"published = {b(t2)}"] + ([f"version = {st['ntcp2_version']}"] if v >= (2, 59) and st["ntcp2_version"] != 2 else [])
        o += ["[ssu2]", f"enabled = {b(u2)}", f"published = {b(u2)}"]
        o += ["[nettime]", "enabled = false", "frompeers = false", "[persist]", "profiles = false"]
        return "\n".join(x for x in o if x) + "\n"
    def tun_opts(s, hops, qty, enc):
        o = [f"{d}.length = {hops}\n{d}.quantity = {qty}" for d in ("inbound", "outbound")] + ["i2cp.leaseSetType = 3"]
        if enc: o.append(f"i2cp.leaseSetEncType = {enc}")
        return "\n".join(o)
    def server_tun(s, keys, hops, qty, enc, port=8080):
        r = s.server()
        return f"[site-{keys}]\ntype = server\nhost = {r['svc']}\nport = {port}\ninport = 80\nkeys = {keys}\n{s.tun_opts(hops, qty, enc)}\n"
    def client_tun(s, b32, hops, qty, enc, port=7000):
        r = s.client()
        return f"[cli-{port}]\ntype = client\naddress = {r['svc']}\nport = {port}\ndestination = {b32}.b32.i2p\ndestinationport = 80\nkeys = transient-{port}\n{s.tun_opts(hops, qty, enc)}\n"

    # -- processes --
    def spawn(s, r, argv, out):
        pre = ["ip", "netns", "exec", r["ns"]] if r.get("ns") else []
        f = open(out, "ab")
        return subprocess.Popen(pre + argv, stdout=f, stderr=f, stdin=subprocess.DEVNULL, start_new_session=True).pid   # ip netns exec execs, so pid is the program's
    def start(s, r):
        open(r["dir"] + "/i2pd.conf", "w").write(s.conf(r))
        if not os.path.exists(r["dir"] + "/tunnels.conf"): open(r["dir"] + "/tunnels.conf", "w").write("")
        r["pid"] = s.spawn(r, [PEERS[r["peer"]], f"--datadir={r['dir']}/data", f"--conf={r['dir']}/i2pd.conf", f"--tunconf={r['dir']}/tunnels.conf"], r["dir"] + "/stdout")
        r["t0"] = time.time()
    def alive(s, pid):
        try: return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "Z"
        except OSError: return False
    def mine(s, pid):
        try: return s.run.encode() in open(f"/proc/{pid}/cmdline", "rb").read()
        except OSError: return False
    def stop(s, rs, sig=signal.SIGTERM, grace=20):
        pids = [r["pid"] for r in rs if r.get("pid") and s.mine(r["pid"])]
        for p in pids: os.kill(p, sig)
        end = time.time() + grace
        while time.time() < end and any(s.reap(p) for p in pids): time.sleep(.1)
        for p in pids:
            if s.reap(p): os.kill(p, signal.SIGKILL)
        for r in rs: r["pid"] = None
    def reap(s, p):
        try: os.waitpid(p, os.WNOHANG)
        except ChildProcessError: pass
        return s.alive(p)

    # -- console scraping --
    def page(s, r, page="", timeout=5): return http_get(r, 7070, "/" + ("?page=" + page if page else ""), timeout=timeout)[1].decode("utf8", "replace")
    def stats(s, r):
        d = dict(name=r["name"], ip=r["ip"], peer=r["peer"], ff=r["ff"], up=bool(r.get("pid")) and s.alive(r["pid"]))
        if not d["up"]: return d
        try:
            t = html.unescape(re.sub(r"<[^>]+>", " ", s.page(r))); t = re.sub(r"[ \t]+", " ", t)
            g = lambda k: (re.search(k + r"\s*:\s*([^\r\n]+)", t) or [0, ""])[1].strip()
            d.update(uptime=g("Uptime"), net=g("Network status"), tcsr=g(r"Tunnel creation success rate"), tcsr_total=g("Total tunnel creation success rate"), rx=g("Received"), tx=g("Sent"), transit=g("Transit"))
            m = re.search(r"Routers\s*:\s*(\d+).*?Floodfills\s*:\s*(\d+).*?LeaseSets\s*:\s*(\d+)", t, re.S)
            if m: d.update(routers=int(m[1]), floodfills=int(m[2]), leasesets=int(m[3]))
            m = re.search(r"Client Tunnels\s*:\s*(\d+).*?Transit Tunnels\s*:\s*(\d+)", t, re.S)
            if m: d.update(client_tunnels=int(m[1]), transit_tunnels=int(m[2]))
            p = s.page(r, "transports")
            for k in ("NTCP2", "SSU2"):
                m = re.search(k + r"</b>\s*\(\s*(\d+)\s*\)", p); d[k.lower()] = int(m[1]) if m else 0
        except OSError as e: d["console"] = str(e)
        d["rss_mb"] = round(s.rss(r["pid"]), 1); d["cpu_s"] = round(s.cpu(r["pid"]), 2)
        return d
    def cpu(s, pid):
        f = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split(); return (int(f[11]) + int(f[12])) / os.sysconf("SC_CLK_TCK")
    def cpu_us(s, pid):
        f = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split(); return int(f[11]) / 100, int(f[12]) / 100
    def rss(s, pid): return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{pid}/status").read())[1]) / 1024

    # -- seeds --
    def seeds(s):
        sd = s.run + "/seed"; os.makedirs(sd, exist_ok=True); out = []
        for r in s.st["routers"]:
            p = r["dir"] + "/data/router.info"
            if os.path.exists(p):
                d = open(p, "rb").read(); h, props = ri_info(d); r["hash"] = h; open(f"{sd}/routerInfo-{h}.dat", "wb").write(d); out.append((f"routerInfo-{h}.dat", d))
        for n in os.listdir(sd):
            if n not in [x[0] for x in out]: out.append((n, open(f"{sd}/{n}", "rb").read()))
        z = io.BytesIO()
        with zipfile.ZipFile(z, "w", zipfile.ZIP_DEFLATED) as zf:
            for n, d in out: zf.writestr(n, d)
        open(s.run + "/seeds.zip", "wb").write(z.getvalue()); s.su3(z.getvalue()); return out
    def su3(s, z):
        """su3 (zip, reseed) signed RSA-4096/SHA512 by a throw-away key; certificate next to it"""
        k, c = s.run + "/reseed-key.pem", s.run + "/reseed-cert.crt"; signer = b"testnet@mail.i2p"
        if not os.path.exists(k):
            if sh("openssl", "req", "-x509", "-newkey", "rsa:4096", "-sha512", "-nodes", "-days", "3650", "-keyout", k, "-out", c, "-subj", "/CN=" + signer.decode(), check=False).returncode: return
        ver = str(int(time.time())).encode().ljust(16, b"\0")
        hd = b"I2Psu3\0\0" + struct.pack(">HHBBBBQBBBB", 6, 512, 0, len(ver), 0, len(signer), len(z), 0, 0, 0, 3) + b"\0" * 12
        body = hd + ver + signer + z
        # PKCS#1 padding around the bare hash, without DigestInfo: so are the bundles of the live network signed
        open(s.run + "/su3.tmp", "wb").write(hashlib.sha512(body).digest())
        sh("openssl", "pkeyutl", "-sign", "-inkey", k, "-in", s.run + "/su3.tmp", "-pkeyopt", "rsa_padding_mode:pkcs1", "-out", s.run + "/su3.sig")
        open(s.run + "/seeds.su3", "wb").write(body + open(s.run + "/su3.sig", "rb").read()); os.remove(s.run + "/su3.tmp"); os.remove(s.run + "/su3.sig")
    def put_netdb(s, r, files):
        for n, d in files:
            h = n[11:-4]; dd = f"{r['dir']}/data/netDb/r{h[0]}"; os.makedirs(dd, exist_ok=True); open(f"{dd}/{n}", "wb").write(d)

# ---------------------------------------------------------------- commands
def ip_of(plan, net, i):
    if net == "loopback": return f"127.{10+i}.0.1"
    return f"10.{10+i}.0.1" if plan == "private" else f"{20+i+(i>106)}.{30+i}.7.1"     # 127 is no public network
def ip6_of(ip):
    """the IPv6 address of a router beside its IPv4 one (`up --ipv6`); i2pd takes only global ones for addresses, and these never leave the bridge"""
    return "2a0c:110::" + ":".join(f"{int(x):x}" for x in ip.split("."))
def cmd_up(n, a):
    if n.st: raise SystemExit("already up (state file exists); `down` first")
    for suite in set(a.peer.split(",") + ([a.ff_peer] if a.ff_peer else [])):
        if suite not in PEERS: raise SystemExit(f"unknown peer '{suite}'; one of: " + " ".join(PEERS))
        if not os.path.exists(PEERS[suite]): raise SystemExit(f"i2pd of {suite} is not unpacked yet: run {HERE}/get-peer.sh {suite}")
    if os.path.exists(n.run):
        shutil.rmtree(n.run)
    os.makedirs(n.run); peers = a.peer.split(",")
    names = [f"r{i:02d}" for i in range(a.routers)]
    n.st = dict(net=a.net, cc=a.cc, netid=a.netid, ip_plan=a.ip_plan if a.net == "netns" else "private", transports=a.transports, ipv6=a.ipv6, ntcp2_version=a.ntcp2_version, bandwidth=a.bandwidth, loglevel=a.loglevel, hops=a.hops, expl_hops=a.expl_hops,
                enc=a.enc, qty=a.quantity, web=a.web, server=names[-2], client=names[-1], routers=[], attached={}, started=time.time())
    for i, nm in enumerate(names):
        ip = ip_of(n.st["ip_plan"], a.net, i); d = f"{n.run}/{nm}"; os.makedirs(d + "/data")
        n.st["routers"].append(dict(name=nm, peer=(a.ff_peer if a.ff_peer and i < a.floodfills else peers[i % len(peers)]), ff=i < a.floodfills, ip=ip, port=a.port, svc="127.0.0.1" if a.net == "netns" else ip, families={1: "4", 2: "6"}.get(i % 3, "46") if a.mixed_families and a.floodfills <= i < a.routers - 2 else "46", ns=NSP + nm if a.net == "netns" else None,
                                    notransit=a.no_transit or (nm in names[-2:] and not a.endpoints_transit), dir=d, pid=None))
    n.save(); n.net_up(); R = n.st["routers"]
    # phase 1: every router makes its keys and router.info
    open(n.server()["dir"] + "/tunnels.conf", "w").write(n.server_tun("site.dat", a.hops, a.quantity, a.enc))
    t0 = time.monotonic()
    for r in R: n.start(r)
    n.save()
    while time.monotonic() - t0 < 60 and not all(os.path.exists(r["dir"] + "/data/router.info") and os.path.exists(r["dir"] + "/data/ssu2.keys") | (a.transports == "ntcp2") for r in R): time.sleep(.05)
    while time.monotonic() - t0 < 60 and not os.path.exists(n.server()["dir"] + "/data/site.dat"): time.sleep(.05)
    time.sleep(.5); n.stop(R)
    files = n.seeds(); log(f"keys made in {time.monotonic()-t0:.1f}s, {len(files)} router.info")
    for r in R: n.put_netdb(r, files); open(r["dir"] + "/i2pd.log", "w").close()
    # phase 2: the network
    n.st["b32"] = keys_b32(n.server()["dir"] + "/data/site.dat")
    open(n.client()["dir"] + "/tunnels.conf", "w").write(n.client_tun(n.st["b32"], a.hops, a.quantity, a.enc))
    start_web(n); t1 = time.monotonic(); n.st["t_start"] = time.time()
    for r in R: n.start(r)
    n.save(); log(f"{len(R)} routers started; eepsite {n.st['b32']}.b32.i2p")
    if a.wait:
        t = wait_fetch(n, a.wait, t1); print(json.dumps(dict(event="first_fetch_cold", **t)))
        n.st["first_fetch"] = t; n.save(); n.seeds(); n.save()
def start_web(n):
    r = n.server(); own = [sys.executable, os.path.abspath(__file__), "--run", n.run, "_web", r["svc"], "8080"]
    n.st["web_pid"] = n.spawn(r, [n.st["web"], "_web", f"{r['svc']}:8080", n.run] if n.st.get("web") else own, n.run + "/web.log")
def fetch_once(n, via, timeout=15):
    c = n.client()
    if via == "proxy": return http_get(c, 4444, f"http://{n.st['b32']}.b32.i2p/ping", host=n.st["b32"] + ".b32.i2p", timeout=timeout)
    return http_get(c, 7000, "/ping", timeout=timeout)
def wait_fetch(n, limit, t0, vias=("tunnel", "proxy")):
    """poll until each path answers; returns seconds since t0"""
    out = {}; lock = threading.Lock()
    def one(via):
        while time.monotonic() - t0 < limit:
            try:
                st, body, _ = fetch_once(n, via)
                if st == 200 and body.startswith(b"pong"):
                    with lock: out[via] = round(time.monotonic() - t0, 2)
                    return
            except OSError: pass
            time.sleep(.25)
    th = [threading.Thread(target=one, args=(v,)) for v in vias]
    for t in th: t.start()
    for t in th: t.join()
    return out
def cmd_wait(n, a): n.need(); print(json.dumps(wait_fetch(n, a.timeout, time.monotonic())))
def cmd_status(n, a):
    n.need(); S = [n.stats(r) for r in n.st["routers"]]
    if a.json: print(json.dumps(S, indent=1)); return
    print(f"netid {n.st['netid']} net {n.st['net']} run {n.run} server {n.st['server']} client {n.st['client']} b32 {n.st.get('b32')}")
    f = "{:5}{:9}{:3}{:>12} {:14}{:>6}{:>5}{:>4}{:>4}{:>6}{:>6}{:>6}{:>6}{:>7}{:>8}  {}"
    print(f.format("name", "peer", "ff", "ip", "net-status", "tcsr", "rtrs", "ffs", "LS", "ctun", "ttun", "ntcp2", "ssu2", "rssMB", "cpu_s", "uptime"))
    for d in S: print(f.format(d["name"], d["peer"], "F" if d["ff"] else "", d["ip"], d.get("net", "DOWN" if not d["up"] else "?")[:13], d.get("tcsr", ""), d.get("routers", ""), d.get("floodfills", ""), d.get("leasesets", ""), d.get("client_tunnels", ""), d.get("transit_tunnels", ""), d.get("ntcp2", ""), d.get("ssu2", ""), d.get("rss_mb", ""), d.get("cpu_s", ""), d.get("uptime", d.get("console", ""))))
def cmd_prove(n, a):
    n.need(); c = n.client(); b = n.st["b32"] + ".b32.i2p"
    def show(k, f):
        t = time.monotonic()
        try: v = f()
        except Exception as e: v = f"FAIL {e!r}"
        print(json.dumps(dict(via=k, seconds=round(time.monotonic() - t, 3), result=v if isinstance(v, str) else v.decode()[:80])))
    show("client-tunnel", lambda: fetch_once(n, "tunnel", 30)[1]); show("http-proxy", lambda: fetch_once(n, "proxy", 60)[1])
    def socks():
        s = connect(c, 4447, 60)
        with s:
            s.sendall(b"\5\1\0"); assert s.recv(2) == b"\5\0"
            s.sendall(b"\5\1\0\3" + bytes([len(b)]) + b.encode() + struct.pack(">H", 80)); rep = s.recv(64); assert rep[1] == 0, rep
            s.sendall(f"GET /ping HTTP/1.0\r\nHost: {b}\r\n\r\n".encode()); d = b""
            while True:
                x = s.recv(4096)
                if not x: break
                d += x
            return d.split(b"\r\n\r\n")[1]
    show("socks5", socks)
    def sam():
        s = connect(c, 7656, 60); s.sendall(b"HELLO VERSION MIN=3.0 MAX=3.3\n"); f = s.makefile("rb"); assert b"RESULT=OK" in f.readline()
        s.sendall(f"SESSION CREATE STYLE=STREAM ID=p{os.getpid()} DESTINATION=TRANSIENT SIGNATURE_TYPE=7 i2cp.leaseSetEncType=4 inbound.length={n.st['hops']} outbound.length={n.st['hops']}\n".encode())
        l = f.readline(); assert b"RESULT=OK" in l, l[:100]
        q = connect(c, 7656, 60); q.sendall(b"HELLO VERSION\n"); g = q.makefile("rb"); g.readline(); q.sendall(f"NAMING LOOKUP NAME={b}\n".encode()); l = g.readline(); assert b"RESULT=OK" in l, l[:100]
        dest = re.search(rb"VALUE=(\S+)", l)[1].decode(); q.sendall(f"STREAM CONNECT ID=p{os.getpid()} DESTINATION={dest} SILENT=false TO_PORT=80\n".encode()); l = g.readline(); assert b"RESULT=OK" in l, l[:100]
        q.sendall(b"GET /ping HTTP/1.0\r\n\r\n"); d = g.read(); s.close(); q.close(); return d.split(b"\r\n\r\n")[1]
    show("sam3", sam)
    p = n.page(n.client(), "local_destinations"); dests = re.findall(r"b32=([a-z2-7]{52})", p)
    for d in dests[:6]:
        t = html.unescape(re.sub(r"<[^>]+>", " ", n.page(n.client(), "local_destination&b32=" + d))); m = re.search(r"Inbound tunnels\s*:(.*?)Tags", t, re.S)
        print(f"client destination {d[:8]}:", re.sub(r"\s+", " ", m[1] if m else t)[:600])

# ---- bench ----
def restart_endpoints(n, keys, hops, qty, enc):
    s, c = n.server(), n.client(); n.stop([s, c])
    open(s["dir"] + "/tunnels.conf", "w").write(n.server_tun(keys, hops, qty, enc)); n.st["hops"] = hops
    open(c["dir"] + "/tunnels.conf", "w").write("")
    t0 = time.monotonic(); n.start(s); kf = f"{s['dir']}/data/{keys}"
    while not os.path.exists(kf) and time.monotonic() - t0 < 30: time.sleep(.05)
    time.sleep(.3); n.st["b32"] = keys_b32(kf); open(c["dir"] + "/tunnels.conf", "w").write(n.client_tun(n.st["b32"], hops, qty, enc)); n.start(c); n.save(); return t0
def snap(n): return {r["name"]: n.cpu_us(r["pid"]) for r in n.st["routers"] if r.get("pid")}
def transit_bytes(n):
    out = {}
    for r in n.st["routers"]:
        if r.get("pid") and not r["notransit"]:
            try:
                t = re.sub(r"<[^>]+>", " ", n.page(r)); m = re.search(r"Transit\s*:\s*([\d.]+)\s*([KMG]?i?B)", t)
                out[r["name"]] = float(m[1]) * {"B": 1, "KiB": 1024, "MiB": 1 << 20, "GiB": 1 << 30}[m[2]]
            except (OSError, TypeError): pass
    return out
def download(c, mb, streams, stall):
    """`streams` parallel downloads of mb/streams MiB each; returns (bytes, slowest ttfb)"""
    res = []
    def one():
        try: res.append(http_get(c, 7000, f"/blob/{max(1, mb // streams)}", timeout=stall, sink=1)[1:])
        except OSError as e: res.append(e)
    th = [threading.Thread(target=one) for _ in range(streams)]
    for t in th: t.start()
    for t in th: t.join()
    for r in res:
        if isinstance(r, OSError): raise r
    return sum(r[0] for r in res), max(r[1] for r in res)
def cmd_bench(n, a):
    n.need(); out = open(n.run + "/bench.jsonl", "a"); R = n.st["routers"]
    os.makedirs(CACHE + "/results", exist_ok=True); keep = open(CACHE + "/results/all.jsonl", "a")       # `up` empties RUN, so results are kept here too
    def emit(**k):
        k["label"] = a.label; k["t"] = round(time.time()); line = json.dumps(k); print(line, flush=True)
        for f in (out, keep): f.write(line + "\n"); f.flush()
    for enc in a.enc.split("/"):
        for hops in [int(x) for x in a.hops.split(",")]:
            var = f"h{hops}e{enc.replace(',', '_')}"; base = dict(cc=n.st.get("cc"), variant=var, hops=hops, enc=enc, mb=a.mb, transports=n.st["transports"], ntcp2_version=n.st["ntcp2_version"], peer=R[0]["peer"], routers=len(R))
            t0 = restart_endpoints(n, f"b{int(time.time())}-{var}.dat", hops, a.quantity, enc)
            j = wait_fetch(n, a.timeout, t0, ("tunnel",)); emit(kind="join", **base, first_fetch_s=j.get("tunnel"))
            if "tunnel" not in j: continue
            time.sleep(a.settle)
            c, s = n.client(), n.server()
            # idle CPU rate
            a0, w0 = snap(n), time.monotonic(); time.sleep(a.idle); a1, w1 = snap(n), time.monotonic()
            idle = {k: (sum(a1[k]) - sum(a0[k])) / (w1 - w0) for k in a0}
            lat, ka = [], []
            for _ in range(a.pings):
                try: lat.append(http_get(c, 7000, "/ping", timeout=20)[2] * 1000)
                except OSError as e: emit(kind="error", **base, what="ping", error=str(e))
            try:
                k = connect(c, 7000)
                with k:
                    for i in range(a.pings + 1):
                        t = http_get(c, 7000, "/ping", conn=k, timeout=20)[2] * 1000
                        if i: ka.append(t)
            except OSError as e: emit(kind="error", **base, what="keepalive", error=str(e))
            emit(kind="latency", **base, new_stream_ms=mmm(lat), same_stream_ms=mmm(ka))
            for run in range(a.runs):
                b0, u0, t = transit_bytes(n), snap(n), time.monotonic()
                try: nb, ttfb = download(c, a.mb, a.streams, a.stall)
                except OSError as e: emit(kind="error", **base, what="blob", run=run, error=str(e), after=time.monotonic() - t); time.sleep(3); continue
                dt = time.monotonic() - t; u1 = snap(n); time.sleep(.2); b1 = transit_bytes(n); mb = nb / 1e6
                d = {k: (u1[k][0] - u0[k][0], u1[k][1] - u0[k][1]) for k in u0}
                tr = [r["name"] for r in R if not r["notransit"]]; tot = sum(sum(d[k]) for k in tr); idl = sum(idle[k] for k in tr) * dt
                gross = {k: round(sum(v), 2) for k, v in d.items()}
                tb = {k: round((b1[k] - b0[k]) / 1e6, 1) for k in b0 if k in b1}
                emit(kind="xfer", **base, streams=a.streams, run=run, seconds=round(dt, 3), MBps=round(mb / dt, 3), ttfb_ms=round(ttfb * 1000), client_cpu_ms_per_MB=round(1000 * (sum(d[c["name"]]) - idle[c["name"]] * dt) / mb, 2), server_cpu_ms_per_MB=round(1000 * (sum(d[s["name"]]) - idle[s["name"]] * dt) / mb, 2),
                     transit_all_cpu_ms_per_MB=round(1000 * (tot - idl) / mb, 2), transit_per_hop_cpu_ms_per_MB=round(1000 * (tot - idl) / mb / (2 * hops), 2) if hops else None, client_user_sys=[round(x, 2) for x in d[c["name"]]], server_user_sys=[round(x, 2) for x in d[s["name"]]],
                     transit_user_sys=[round(sum(d[k][i] for k in tr), 2) for i in (0, 1)], cpu_s=gross, idle_rate_all=round(sum(idle.values()), 4), transit_MB=tb, rss_mb={r["name"]: round(n.rss(r["pid"]), 1) for r in R if r.get("pid")}, load=os.getloadavg()[0])
                time.sleep(1)
def cmd_table(n, a):
    if not os.path.exists(a.file or n.run + "/bench.jsonl"): raise SystemExit("no bench results yet; run `bench` first")
    rows = [json.loads(l) for l in open(a.file or n.run + "/bench.jsonl")]
    g = {}
    for r in rows: g.setdefault((r.get("label"), r["transports"], r["ntcp2_version"], r["enc"], r["hops"]), []).append(r)
    f3 = lambda v, d=2: "/".join(f"{x:.{d}f}" for x in (min(v), statistics.median(v), max(v))) if v else "-"
    print("label | transports | enc | hops | n | join s | new-stream ms | same-stream ms | MB/s | client ms/MB | server ms/MB | transit ms/MB per hop | RSS transit/client/server MB | errors")
    for k, v in g.items():
        x = [r for r in v if r["kind"] == "xfer"]; la = [r for r in v if r["kind"] == "latency"]; jo = [r["first_fetch_s"] for r in v if r["kind"] == "join" and r["first_fetch_s"]]
        lt = lambda key: " ".join(f"{l[key]['min']:.0f}/{l[key]['med']:.0f}/{l[key]['max']:.0f}" for l in la if l[key]) or "-"
        names = sorted(x[-1]["rss_mb"]) if x else []
        rs = f"{statistics.mean(x[-1]['rss_mb'][q] for q in names[:-2]):.0f}/{x[-1]['rss_mb'][names[-1]]:.0f}/{x[-1]['rss_mb'][names[-2]]:.0f}" if x else "-"
        print(" | ".join(map(str, (k[0], k[1] + (f"(ntcp2 v{k[2]})" if k[2] != 2 else ""), k[3], k[4], len(x), f3(jo), lt("new_stream_ms"), lt("same_stream_ms"), f3([r["MBps"] for r in x]), f3([r["client_cpu_ms_per_MB"] for r in x], 1), f3([r["server_cpu_ms_per_MB"] for r in x], 1),
              f3([r["transit_per_hop_cpu_ms_per_MB"] for r in x if r["transit_per_hop_cpu_ms_per_MB"] is not None], 1), rs, sum(r["kind"] == "error" for r in v)))))
# ---- other commands ----
def cmd_seed(n, a): n.need(); f = n.seeds(); n.save(); print(json.dumps(dict(seed_dir=n.run + "/seed", zip=n.run + "/seeds.zip", su3=n.run + "/seeds.su3", su3_cert=n.run + "/reseed-cert.crt", routers=len(f))))
def cmd_attach(n, a):
    st = n.need()
    if a.name not in st["attached"]:
        ip = a.ip or ip_of(st["ip_plan"], st["net"], 100 + len(st["attached"]))
        if a.nat:
            public, ip = ip, n.nat_up(a.name, ip); st.setdefault("nats", {})[a.name] = dict(public=public, moves=0, ip=ip); nat_rules(n, a.name, a.nat)
        elif st["net"] == "netns": n.ns_add(a.name, ip)
        st["attached"][a.name] = ip
    n.seeds(); n.save()
    print(json.dumps(dict(name=a.name, netns=NSP + a.name if st["net"] == "netns" else None, ip=st["attached"][a.name], public=st.get("nats", {}).get(a.name, {}).get("public"), nat=NSP + a.name + "n" if a.name in st.get("nats", {}) else None, port="any", netid=st["netid"], reserved_ips_must_be_allowed=st["ip_plan"] == "private", seed_dir=n.run + "/seed", seed_zip=n.run + "/seeds.zip", seed_su3=n.run + "/seeds.su3", su3_cert=n.run + "/reseed-cert.crt",
        run_with=f"{sys.argv[0]} --run {n.run} exec {a.name} CMD", eepsite_b32=st.get("b32"), routers=[dict(name=r["name"], ip=r["ip"], port=r["port"], hash=r.get("hash"), floodfill=r["ff"]) for r in st["routers"]]), indent=1))
NATS = ("full-cone", "address-restricted", "port-restricted", "symmetric", "closed")
def nat_rules(n, name, kind):
    """Ports stay as they are but where they are drawn for each peer (symmetric). The kernel by itself lets in what answers an address and port that was
    sent to; the wider kinds note what went out, and lead to the router what then comes from there. What belongs to nothing leaves no trace: else the
    translator would take a port that somebody has knocked at for one in use, and give another."""
    if kind not in NATS: raise SystemExit(f"unknown kind of NAT '{kind}'; one of: " + " ".join(NATS))
    x = n.st["nats"][name]; x["kind"] = kind
    back = {"full-cone": f"udp dport @mapped dnat to {x['ip']}", "address-restricted": f"ip saddr . udp dport @went dnat to {x['ip']}"}.get(kind, "")
    rules = f"""flush ruleset
table ip nat {{
 set mapped {{ type inet_service; flags dynamic,timeout; timeout 300s; }}
 set went {{ type ipv4_addr . inet_service; flags dynamic,timeout; timeout 300s; }}
 chain pre {{ type nat hook prerouting priority dstnat
  {'iifname "eth0" ' + back if back else ''}
 }}
 chain post {{ type nat hook postrouting priority srcnat
  oifname "eth0" masquerade {'fully-random' if kind == 'symmetric' else ''}
 }}
 chain note {{ type filter hook postrouting priority filter
  oifname "eth0" ct direction original update @mapped {{ udp sport }}
  oifname "eth0" ct direction original update @went {{ ip daddr . udp sport }}
 }}
 chain passing {{ type filter hook forward priority filter
  {'oifname "eth0" meta l4proto udp drop' if kind == 'closed' else ''}
  iifname "eth0" ct state new ct status & dnat != dnat drop
 }}
 chain input {{ type filter hook input priority filter; policy drop
  iifname {{ "lo", "lan0" }} accept
  ct state established,related accept
  icmp type echo-request accept
 }}
}}
"""
    r = subprocess.run(["ip", "netns", "exec", NSP + name + "n", "nft", "-f", "-"], input=rules, capture_output=True, text=True)
    if r.returncode: raise SystemExit(f"nft: {r.stderr.strip()}")
    forget_flows(NSP + name + "n")
def forget_flows(ns):
    """all of the namespace's tracked connections: IPCTNL_MSG_CT_DELETE without attributes"""
    s = ns_socket(ns, socket.AF_NETLINK, socket.SOCK_RAW, 12)
    with s:
        s.settimeout(5); s.sendto(struct.pack("=IHHIIBBH", 20, 0x0102, 5, 1, 0, 0, 0, 0), (0, 0)); d = s.recv(4096)
        if struct.unpack_from("=i", d, 16)[0]: raise SystemExit(f"flows of {ns} are kept: {d!r}")
def nat_of(n, name):
    if name not in n.need().get("nats", {}): raise SystemExit(f"'{name}' is behind no translator")
    return n.st["nats"][name]
def cmd_nat(n, a): nat_of(n, a.name); nat_rules(n, a.name, a.kind); n.save()
def cmd_renumber(n, a):
    x = nat_of(n, a.name); old = x["public"]; x["moves"] += 1; p = old.split("."); x["public"] = ".".join(p[:3] + [str(1 + int(p[3]) % 250)]); ns = NSP + a.name + "n"
    # A new address of an operator: the old one is gone at once, with everything that was translated to it.
    sh("ip", "-n", ns, "addr", "add", x["public"] + "/32", "dev", "eth0"); sh("ip", "-n", ns, "addr", "del", old + "/32", "dev", "eth0")
    if n.routed(): sh("ip", "-n", NSP + "sw", "route", "del", old + "/32"); sh("ip", "-n", NSP + "sw", "route", "add", x["public"] + "/32", "dev", "v" + a.name + "n")
    nat_rules(n, a.name, x["kind"]); n.save(); print(json.dumps(dict(public=x["public"], was=old)))
def cmd_add_ri(n, a):
    n.need(); d = open(a.file, "rb").read(); h, props = ri_info(d); sd = n.run + "/seed"; open(f"{sd}/routerInfo-{h}.dat", "wb").write(d); n.seeds()
    if a.restart or a.to:
        rs = [n.r(x) for x in a.to] or n.st["routers"]; n.stop(rs)
        for r in rs: n.put_netdb(r, [(f"routerInfo-{h}.dat", d)]); n.start(r)
        n.save()
    print(h, props)
def cmd_exec(n, a):
    st = n.need(); n.r(a.name)
    if st["net"] == "netns": os.execvp("ip", ["ip", "netns", "exec", NSP + a.name] + a.argv)
    os.execvp(a.argv[0], a.argv)
def cmd_restart(n, a):
    n.need(); rs = [n.r(x) for x in a.names] or n.st["routers"]; n.stop(rs)
    for r in rs:
        if a.loglevel: r["loglevel"] = a.loglevel
        n.start(r)
    n.save()
def cmd_newsite(n, a):
    n.need(); r = n.st; restart_endpoints(n, os.path.basename(a.file), r["hops"], r["qty"], r["enc"]); print(json.dumps(dict(b32=n.st["b32"])))
def cmd_loglevel(n, a):
    n.need()
    for r in ([n.r(x) for x in a.names] or n.st["routers"]):
        t = n.page(r, "commands"); tok = re.search(r"token=(\d+)", t); print(r["name"], http_get(r, 7070, f"/?cmd=set_loglevel&level={a.level}&token={tok[1] if tok else ''}")[0])
def cmd_rtt(n, a):
    """TCP connect time between two routers' NTCP2 ports (1 round trip): what the links really do"""
    n.need(); x, y = n.r(a.frm), n.r(a.to); v = []
    for _ in range(a.count):
        s = ns_socket(x["ns"]); s.settimeout(5); s.bind((x["ip"], 0)); t = time.monotonic()
        try: s.connect((y["ip"], y["port"])); v.append((time.monotonic() - t) * 1000)
        except OSError as e: print("lost:", e)
        finally: s.close()
    print("connect ms", mmm([round(q, 2) for q in v]))
def cmd_link(n, a):
    """rate by tc tbf (egress of the router); delay/loss by tc netem when the kernel has it, else by ./linkemu (user space, needs gcc)"""
    st = n.need(); names = [a.router] if a.router else [r["name"] for r in st["routers"]] + list(st["attached"])
    if st["net"] != "netns": raise SystemExit("needs --net netns")
    if n.routed(): raise SystemExit("the links of a network with public addresses stay as they are: there is no bridge")
    if a.router: n.r(a.router)
    for p in st.pop("emu", []):
        if n.alive(p) and b"linkemu" in open(f"/proc/{p}/cmdline", "rb").read(): os.kill(p, signal.SIGTERM)
    allp = [r["name"] for r in st["routers"]] + list(st["attached"])
    for nm in allp: sh("ip", "-n", NSP + "sw", "link", "set", "v" + nm, "master", "br0", check=False)
    for nm in names: sh("ip", "netns", "exec", NSP + nm, "tc", "qdisc", "del", "dev", "eth0", "root", check=False)
    n.save()
    if a.clear: return
    lossy = a.delay_ms or a.loss or a.jitter_ms
    if lossy:
        q = ["netem", "delay", f"{a.delay_ms}ms", f"{a.jitter_ms}ms", "loss", f"{a.loss}%"] + (["rate", a.rate] if a.rate else [])
        if all(not sh("ip", "netns", "exec", NSP + nm, "tc", "qdisc", "replace", "dev", "eth0", "root", *q, check=False).returncode for nm in names): print("netem:", *q); return
        exe = CACHE + "/linkemu"
        if not os.path.exists(exe) or os.path.getmtime(exe) < os.path.getmtime(HERE + "/linkemu.c"): os.makedirs(CACHE, exist_ok=True); sh("gcc", "-O2", "-o", exe, HERE + "/linkemu.c")
        for nm in allp: sh("ip", "-n", NSP + "sw", "link", "set", "v" + nm, "nomaster"); sh("ip", "-n", NSP + nm, "link", "set", "eth0", "gso_max_segs", "1", check=False)   # no super-frames: loss is per packet
        f = open(n.run + "/linkemu.log", "ab")
        ports = [f"v{nm}={a.delay_ms if nm in names else 0},{a.jitter_ms if nm in names else 0},{a.loss if nm in names else 0}" for nm in allp]
        st["emu"] = [subprocess.Popen(["ip", "netns", "exec", NSP + "sw", exe] + ports, stdout=f, stderr=f, stdin=subprocess.DEVNULL, start_new_session=True).pid]; n.save(); print("kernel has no netem; linkemu pid", st["emu"])
    if a.rate:
        for nm in names: sh("ip", "netns", "exec", NSP + nm, "tc", "qdisc", "replace", "dev", "eth0", "root", "tbf", "rate", a.rate, "burst", "64k", "latency", "100ms")
        print("tbf rate", a.rate)
WHY = r"mismatch|verif|invalid|Invalid|reject|declin|too short|too old|Unexpected|unexpected|unknown|Unknown|failed|Failed|error|not found|not supported|skew|future|replay|Duplicate|terminat|refus|Can't|malformed|Malformed|timeout|timed out|expired"
def cmd_why(n, a):
    """count log lines with reasons, ids collapsed, so that rejections of a foreign router stand out"""
    n.need(); cnt = {}
    for r in n.st["routers"]:
        for l in open(r["dir"] + "/i2pd.log", errors="replace"):
            if not re.search(WHY, l) or ((a.ident or a.ip) and not (a.ident and a.ident[:6] in l or a.ip and a.ip in l)): continue
            m = re.sub(r"^\d\d:\d\d:\d\d@\d+/", "", l.strip()); k = m if a.full else re.sub(r"\d+", "#", re.sub(r"[A-Za-z0-9~-]{43}=", "<hash>", m)); c = cnt.setdefault(k, [0, set()]); c[0] += 1; c[1].add(r["name"])
    for k, (c, w) in sorted(cnt.items(), key=lambda x: -x[1][0])[:a.top]: print(f"{c:6} {len(w):3} routers ({min(w)}..)  {k[:220]}")
def cmd_down(n, a):
    n.need(); n.stop(n.st["routers"]); w = n.st.get("web_pid")
    if w and n.mine(w): os.kill(w, signal.SIGTERM)
    for p in n.st.get("emu", []):
        if n.alive(p) and b"linkemu" in open(f"/proc/{p}/cmdline", "rb").read(): os.kill(p, signal.SIGTERM)
    n.net_down(); os.rename(n.f, n.run + "/state.last.json"); print("down")
def cmd_web(n, a):
    """the eepsite: /ping and /blob/<MB>"""
    block = os.urandom(1 << 20)
    def serve(c):
        with c:
            try:
                c.settimeout(300); c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1); buf = b""
                while True:
                    while b"\r\n\r\n" not in buf:
                        d = c.recv(8192)
                        if not d: return
                        buf += d
                    head, buf = buf.split(b"\r\n\r\n", 1); path = head.split()[1].decode(); m = re.search(r"/blob/(\d+)", path)
                    if m:
                        n_ = int(m[1]); c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (n_ << 20))
                        for _ in range(n_): c.sendall(block)
                    else:
                        b = b"pong %s %f\n" % (path.encode(), time.time()); c.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(b) + b)
                    if b"onnection: close" in head or b"HTTP/1.0" in head: c.shutdown(socket.SHUT_WR); c.recv(1); return
            except OSError: pass
    l = socket.socket(); l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); l.bind((a.addr, int(a.port))); l.listen(128)
    while True: threading.Thread(target=serve, args=(l.accept()[0],), daemon=True).start()

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter); p.add_argument("--run", default=DEFAULT_RUN); sub = p.add_subparsers(dest="cmd", required=True)
    u = sub.add_parser("up"); A = u.add_argument
    A("--routers", type=int, default=12); A("--floodfills", type=int, default=5); A("--peer", default="sid", help="sid|trixie|bookworm, or a comma list used round robin"); A("--ff-peer", help="i2pd version for the floodfills (2.59 ignores floodfills older than 0.9.59, so never bookworm in a mixed net)"); A("--net", default="netns", choices=["netns", "loopback"])
    A("--netid", type=int, default=99); A("--cc", default="reno", help="TCP congestion control inside the namespaces (empty: the kernel's own)"); A("--ip-plan", default="private", choices=["private", "public"]); A("--ipv6", action="store_true", help="IPv6 addresses beside the IPv4 ones"); A("--mixed-families", action="store_true", help="with --ipv6: of the routers between floodfills and ends, some have IPv4 only and some IPv6 only"); A("--transports", default="both", choices=["both", "ntcp2", "ssu2"]); A("--ntcp2-version", type=int, default=2, help="2 standard, 3/4/5 ML-KEM-512/768/1024 (i2pd >= 2.59)")
    A("--bandwidth", default="X"); A("--loglevel", default="warn"); A("--port", type=int, default=23456); A("--hops", type=int, default=3); A("--expl-hops", type=int, default=2); A("--quantity", type=int, default=3); A("--enc", default="4"); A("--endpoints-transit", action="store_true", help="let server and client carry transit too"); A("--no-transit", action="store_true", help="no router carries transit: others, attached, do"); A("--wait", type=float, default=120); A("--web", help="program to serve the eepsite instead of the built-in one: PROGRAM _web ADDR:PORT RUN")
    s = sub.add_parser("status"); s.add_argument("--json", action="store_true")
    s = sub.add_parser("wait"); s.add_argument("--timeout", type=float, default=120)
    sub.add_parser("prove"); sub.add_parser("seed"); sub.add_parser("down")
    b = sub.add_parser("bench"); A = b.add_argument
    A("--hops", default="0,1,2,3"); A("--enc", default="4", help="leaseSetEncType variants separated by '/', e.g. 4/6,4/5"); A("--mb", type=int, default=32, help="MiB per run, shared among the streams"); A("--streams", type=int, default=1); A("--runs", type=int, default=3); A("--quantity", type=int, default=3); A("--timeout", type=float, default=120); A("--stall", type=float, default=60); A("--settle", type=float, default=8); A("--idle", type=float, default=6); A("--pings", type=int, default=10); A("--label", default="")
    s = sub.add_parser("table"); s.add_argument("file", nargs="?")
    s = sub.add_parser("attach"); s.add_argument("name"); s.add_argument("--ip"); s.add_argument("--nat", choices=NATS)
    s = sub.add_parser("nat"); s.add_argument("name"); s.add_argument("kind", choices=NATS)
    s = sub.add_parser("renumber"); s.add_argument("name")
    s = sub.add_parser("add-ri"); s.add_argument("file"); s.add_argument("--restart", action="store_true"); s.add_argument("--to", nargs="*", default=[], help="restart these routers only, with the RouterInfo in their netDb")
    s = sub.add_parser("exec"); s.add_argument("name"); s.add_argument("argv", nargs=argparse.REMAINDER)
    s = sub.add_parser("newsite"); s.add_argument("file")
    s = sub.add_parser("restart"); s.add_argument("names", nargs="*"); s.add_argument("--loglevel")
    s = sub.add_parser("loglevel"); s.add_argument("level"); s.add_argument("names", nargs="*")
    s = sub.add_parser("link"); A = s.add_argument; A("--router"); A("--rate"); A("--delay-ms", type=float, default=0); A("--jitter-ms", type=float, default=0); A("--loss", type=float, default=0); A("--clear", action="store_true")
    s = sub.add_parser("rtt"); s.add_argument("frm"); s.add_argument("to"); s.add_argument("--count", type=int, default=10)
    s = sub.add_parser("why"); A = s.add_argument; A("--ident", default=""); A("--ip", default=""); A("--top", type=int, default=40); A("--full", action="store_true")
    s = sub.add_parser("_web"); s.add_argument("addr"); s.add_argument("port")
    a = p.parse_args()
    if os.path.abspath(a.run) != DEFAULT_RUN:      # several testnets side by side: own namespace prefix
        global NSP; NSP = "i2n%04x-" % (binascii.crc32(os.path.abspath(a.run).encode()) & 0xffff)
    cmd = a.cmd
    n = Net(a.run)
    try: {"_web": cmd_web, "add-ri": cmd_add_ri}.get(cmd, globals().get("cmd_" + cmd))(n, a); sys.stdout.flush()
    except BrokenPipeError: os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
main()
