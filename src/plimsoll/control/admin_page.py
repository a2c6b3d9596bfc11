"""The page at `/`: one table of services that refreshes itself. No assets from anywhere else, no cookies.

Names and messages reach the page through `textContent`, never as HTML.
"""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Plimsoll</title>
<meta http-equiv="content-security-policy" content="default-src 'none'; style-src 'unsafe-inline'; \
script-src 'unsafe-inline'; connect-src 'self'">
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem; color: #222; background: #fff }
table { border-collapse: collapse }
th, td { text-align: left; padding: .3rem 1.2rem .3rem 0; border-bottom: 1px solid #ddd }
th { font-weight: 600 } .Ready { color: #176b2c } .Failed { color: #b00020 } .Degraded { color: #8a5a00 }
#events { font: 13px/1.5 ui-monospace, monospace; white-space: pre-wrap; margin-top: 1.5rem } #state { color: #666 }
</style></head><body>
<h1>Plimsoll</h1>
<table><thead><tr><th>Service</th><th>Phase</th><th>Revision</th><th>Replicas</th><th>Requests/s</th><th>p50</th>
<th>p95</th><th>p99 / budget</th><th>Inside budget</th><th>Message</th></tr></thead><tbody id="rows"></tbody></table>
<div id="events"></div><p id="state"></p>
<script>
const ms = s => s == null ? "–" : (s * 1000).toPrecision(3) + " ms";
const inside = v => v == null ? "–" : v ? "yes" : "no";
async function refresh() {
  try {
    const answers = await Promise.all([fetch("/v1/services"), fetch("/v1/events")]);
    const services = (await answers[0].json()).services;
    const events = (await answers[1].text()).trim().split("\\n").filter(Boolean).slice(-10).map(JSON.parse);
    document.getElementById("rows").replaceChildren(...services.map(s => {
      const row = document.createElement("tr");
      const cells = [s.name, s.phase, "rev " + s.revision_number, s.replicas.ready + "/" + s.replicas.wanted,
        s.requests_per_s.toFixed(1), ms(s.latency.p50_s), ms(s.latency.p95_s),
        ms(s.latency.p99_s) + " / " + ms(s.budget.p99_s), inside(s.inside_budget),
        [s.message, ...s.hints].filter(Boolean).join("; ")];
      cells.forEach((text, i) => {
        const cell = row.insertCell(); cell.textContent = text; if (i === 1) cell.className = s.phase;
      });
      return row;
    }));
    document.getElementById("events").textContent = events.map(e =>
      new Date(e.at * 1000).toLocaleTimeString() + "  " + e.service + "  " + e.message).join("\\n");
    document.getElementById("state").textContent = "";
  } catch (error) { document.getElementById("state").textContent = "not reachable: " + error; }
}
refresh(); setInterval(refresh, 1000);
</script></body></html>
"""
