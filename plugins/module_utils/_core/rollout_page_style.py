# SPDX-License-Identifier: GPL-3.0-or-later
"""How the page of a rollout looks: on a desk, on a phone, at night, on paper. The colours of the steps differ in lightness too."""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;
--bg:#f6f6f3;--card:#fff;--ink:#1d2126;--soft:#5a626d;--line:#e2e3df;--track:#e9e9e5;
--ok:#1f7a54;--bad:#b3261e;--warn:#8f5b00;--badbg:#fcefed;--warnbg:#fbf3e2;--okbg:#e9f4ee;
--stage:#9aa3b0;--wait:#c9cdd3;--drain:#e0a030;--reboot:#3b74b8;--health:#4aa583;--undrain:#8ccbb4;--rollback:#8e4a9e}
@media screen and (prefers-color-scheme:dark){:root{
--bg:#14171a;--card:#1c2024;--ink:#e4e6e8;--soft:#9ba3ad;--line:#2f353b;--track:#2a2f35;
--ok:#5fc39a;--bad:#f0857c;--warn:#e0b060;--badbg:#33201f;--warnbg:#2f2818;--okbg:#1a2b24;
--stage:#6f7a88;--wait:#454c54;--drain:#c98f2e;--reboot:#5b95d8;--health:#58b893;--undrain:#2f6f5c;--rollback:#b87fc7}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;
font-variant-numeric:tabular-nums}
main,header,footer{max-width:72rem;margin:0 auto;padding:0 1.5rem}
header{padding-top:2.25rem}
footer{padding-bottom:3rem;color:var(--soft);font-size:.875rem}
h1,h2,h3,p,ul,dl,dd{margin:0;padding:0}
h1{font-size:1.75rem;line-height:1.25;font-weight:650;letter-spacing:-.01em;text-wrap:balance}
h2{font-size:1.125rem;font-weight:650;margin:2.5rem 0 .75rem}
h3{font-size:.875rem;font-weight:600;color:var(--soft);padding:1rem 0 .25rem}
code,.n{font-family:ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.875em}
code,p,dd,td,li{overflow-wrap:anywhere}
.where{color:var(--soft);margin-bottom:.5rem}
.lead{margin-top:.5rem;max-width:60rem}
.mark{display:inline-block;width:.7em;height:.7em;border-radius:50%;margin-right:.5em;background:var(--ok)}
.bad .mark{background:var(--bad)}.warn .mark{background:var(--warn)}
.counts{display:flex;flex-wrap:wrap;gap:.25rem 1.5rem;list-style:none;margin-top:1.25rem}
.counts b{font-size:1.25rem;font-weight:650;margin-right:.35em}
.share{display:flex;gap:2px;height:8px;margin-top:.6rem;border-radius:4px;overflow:hidden}
.c-ok{fill:var(--ok)}.c-right{fill:var(--stage)}.c-bad{fill:var(--bad)}.c-warn{fill:var(--drain)}.c-none{fill:var(--wait)}
svg{display:block;width:100%;overflow:visible}
.key svg,.counts svg{display:inline-block;width:.75rem;height:.75rem;margin-right:.4em;vertical-align:-.05em}
.facts{display:flex;flex-wrap:wrap;gap:.75rem 2.75rem;margin-top:1.5rem;
padding-top:1.25rem;border-top:1px solid var(--line)}
dt{color:var(--soft);font-size:.875rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1.1rem 1.35rem;margin-bottom:.75rem}
.cause{border-left:4px solid var(--wait)}.cause.bad{border-left-color:var(--bad)}.cause.warn{border-left-color:var(--drain)}
.cause h3{color:inherit;font-size:1rem;padding:0 0 .25rem}
.cause h3 em{font-style:normal;font-weight:400;color:var(--soft)}.cause.bad h3 em{color:var(--bad)}.cause.warn h3 em{color:var(--warn)}
.cause ul,.more ul{margin:.6rem 0;padding-left:1.1rem}.cause li{margin:.15rem 0}.cause ul{margin-bottom:0}
.next{margin-top:.7rem;padding-top:.7rem;border-top:1px solid var(--line);color:var(--soft)}
.next b{color:var(--ink);font-weight:600}
.type{margin-top:.5rem}.type code{display:block;padding:.5rem .75rem;background:var(--bg);border-radius:6px}
.names{margin-top:.5rem;color:var(--soft)}
.key{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;list-style:none;font-size:.875rem;color:var(--soft)}
.away{margin:1rem 0 .25rem}.away svg{height:56px}.away p{font-size:.875rem;color:var(--soft);margin-bottom:.35rem}
.away path{fill:var(--reboot);opacity:.28}.away line{stroke:var(--soft);stroke-width:1;stroke-dasharray:4 4}
.line,.axis,summary.row,.away{--name:15rem;--time:6rem}
.axis{position:sticky;top:0;z-index:2;background:var(--card);padding:.35rem calc(var(--time) + .75rem) .35rem calc(var(--name) + .75rem);
border-bottom:1px solid var(--line)}
.axis svg{height:1.1rem}.axis text{fill:var(--soft);font-size:.75rem}
.away svg,.lines{margin-left:calc(var(--name) + .75rem);width:calc(100% - var(--name) - var(--time) - 1.5rem)}
.line{position:relative}
.lines{position:absolute;top:0;bottom:0;left:0;z-index:0;pointer-events:none}
.lines svg{height:100%}.lines line{stroke:var(--line)}
.rows{position:relative;z-index:1}
summary{cursor:pointer}
summary:focus-visible{outline:2px solid var(--reboot);outline-offset:2px;border-radius:4px}
summary.row{display:grid;grid-template-columns:var(--name) minmax(0,1fr) var(--time);gap:.75rem;align-items:center;
list-style:none;min-height:1.75rem;border-radius:4px}
summary.row::-webkit-details-marker{display:none}
summary.row:hover{background:color-mix(in srgb,var(--track) 50%,transparent)}
.who{display:flex;gap:.6em;align-items:baseline;min-width:0}
.who em{font-style:normal;font-size:.8125rem;color:var(--bad);white-space:nowrap}
summary.row .n{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
summary.row .n::before{content:"\\25b8";color:var(--soft);margin-right:.4em}
details[open]>summary.row .n::before{content:"\\25be"}
summary.row svg{height:14px}
.t{text-align:right;color:var(--soft);font-size:.875rem;white-space:nowrap}
.group .node{content-visibility:auto;contain-intrinsic-height:auto 1.75rem}
.more{margin:.25rem 0 1rem;padding:.75rem 1rem;background:var(--bg);border-radius:8px}
.more p{margin-bottom:.5rem}
.group>summary{color:var(--soft);padding:1rem 0 .25rem;font-size:.875rem;font-weight:600}
.card.group>summary{padding:0}.card.group>.scroll{margin-top:.75rem}
.out{fill:var(--track)}.stage{fill:var(--stage)}.wait{fill:var(--wait)}.drain{fill:var(--drain)}.reboot{fill:var(--reboot)}
.health{fill:var(--health)}.undrain{fill:var(--undrain)}.rollback{fill:var(--rollback)}.failed{fill:var(--bad)}
.bar{min-width:1px;stroke-width:.8}.bar.stage{stroke:var(--stage)}.bar.drain{stroke:var(--drain)}.bar.reboot{stroke:var(--reboot)}
.bar.health{stroke:var(--health)}.bar.undrain{stroke:var(--undrain)}.bar.rollback{stroke:var(--rollback)}.bar.failed{stroke:var(--bad)}
.scroll{overflow-x:auto;border-radius:6px}
.scroll:focus-visible{outline:2px solid var(--reboot)}
table{border-collapse:collapse;font-size:.875rem}
th,td{text-align:left;padding:.3rem .9rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--soft);font-weight:600;white-space:nowrap}
tbody th{color:inherit;font-weight:400}
.all td{white-space:nowrap;overflow-wrap:normal}
td.s,th.s{text-align:right}
tr:last-child>*{border-bottom:0}
.failedtext{color:var(--bad)}
@media (max-width:44rem){
main,header,footer{padding-left:1rem;padding-right:1rem}header{padding-top:1.25rem}
h1{font-size:1.4rem}.card{padding:.9rem 1rem}
.axis{padding-left:0;padding-right:0}.axis .odd{display:none}
.away svg,.lines{margin-left:0;width:100%}
summary.row{grid-template-columns:minmax(0,1fr) auto;gap:0 .75rem;padding:.2rem 0 .45rem}
summary.row svg{grid-row:2;grid-column:1/-1}
.group .node{contain-intrinsic-height:auto 3.1rem}
}
@media print{
:root{--bg:#fff;--card:#fff}body{font-size:10pt}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
.axis{position:static}.card{break-inside:auto;border-color:#bbb}.cause,.node{break-inside:avoid}
.group .node{content-visibility:visible}
.group::details-content,.names::details-content{content-visibility:visible;display:block}
}
""".strip()
