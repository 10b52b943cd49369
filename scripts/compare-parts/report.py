"""What scripts/compare writes: one table of every line, what became of each target, and the same as a page with plots."""

import html
import math
import statistics

import perf
from lines import LINES

COLUMNS = ("records/s", "MB/s", "p50 ms", "p99 ms", "p99.9 ms", "p99.99 ms", "CPU s per million", "broker cores", "client cores", "MB resident", "seconds")
STYLE = ("body{font:15px/1.45 sans-serif;max-width:80em;margin:2em auto;padding:0 1em;color:#222}table{border-collapse:collapse;font-size:13px}"
         "th,td{text-align:left;padding:.15em .7em .15em 0;border-bottom:1px solid #ddd;vertical-align:top}svg{display:block;margin:.8em 0}pre{font-size:12px;overflow-x:auto}")
COLORS = {"kafka": "#d55e00", "kafka-durable": "#e69f00", "ringlog": "#0072b2", "ringlog-caching": "#56b4e9", "ringlog-native": "#009e73", "ringlog-native-hop": "#66c2a5",
          "ringlog-1-shard": "#0072b2", "ringlog-2-shards": "#003f6b", "rabbitmq": "#cc79a7", "nats": "#777777", "artemis": "#999933"}
PLOTS = (("records/s", "linear"), ("MB/s", "linear"), ("CPU s per million", "log"), ("p50 ms", "log"), ("p99 ms", "log"), ("p99.9 ms", "log"), ("p99.99 ms", "log"),
         ("broker cores", "linear"), ("MB resident", "linear"), ("seconds", "log"))


def medians(runs):
    return {name: statistics.median(run[name] for run in runs if name in run) for name in runs[0]}


def rows(results, sizes, limits):
    """Line, side with how large it was, medians, repeats, ratio to Kafka's default, and what limited it."""
    found = []
    for work in LINES:
        for side, runs in results.get(work, {}).items():
            figures = medians(runs)
            base = results[work].get("kafka")
            ratio = ""
            if base and side != "kafka":
                key = next((k for k in ("records/s", "seconds", "mean ms", "broker cores") if k in figures), None)
                reference = medians(base).get(key) if key else None
                ratio = f"{figures[key] / reference:.2f}×" if reference else ""
            size = sizes.get((work, side))
            found.append((work, f"{side} ({size})" if size else side, figures, len(runs), ratio, limits.get((work, side), "")))
    return found


def limited(figures, options, cores):
    """What kept a line from more, as the processors tell it; cores are counted over the whole life of a client, its start too."""
    broker, client = figures.get("broker cores"), figures.get("client cores")
    if broker is None or client is None:
        return ""
    of_broker = len(options.broker_cpus.split(",")) if options.broker_cpus else cores
    of_client = len(options.client_cpus.split(",")) if options.client_cpus else cores
    if not options.broker_cpus and broker + client > 0.85 * cores:
        return "the machine's cores"
    if client > 0.85 * of_client:
        return "the client's cores"
    if broker > 0.85 * of_broker:
        return "the broker's cores"
    return "neither's cores: the device, or waiting for it"


def shown(figures):
    cells = [perf.number(figures[name]) if name in figures else "–" for name in COLUMNS]
    if "mean ms" in figures:
        cells[COLUMNS.index("p50 ms")] = f"mean {perf.number(figures['mean ms'])}"
    return cells


def verdict(met):
    return "–" if met is None else "met" if met else "missed"


def markdown(machine, table, targets, notes):
    lines = ["# Ringlog beside others", "", *(f"- {name}: {value}" for name, value in machine.items()), ""]
    lines += [f"| line | side | {' | '.join(COLUMNS)} | to Kafka's default | limited by | runs |", "|---|---|" + "---|" * (len(COLUMNS) + 3)]
    for work, side, figures, runs, ratio, limit in table:
        lines.append(f"| {LINES[work].what} | {side} | {' | '.join(shown(figures))} | {ratio or '–'} | {limit or '–'} | {runs} |")
    lines += ["", "| target | what | asked | found | |", "|---|---|---|---|---|"]
    for target, what, wanted, value, met in targets:
        lines.append(f"| {target} | {what} | {wanted} | {value} | {verdict(met)} |")
    lines += ["", *(f"- {note}" for note in notes)]
    return "\n".join(lines).rstrip() + "\n"


def page(machine, table, targets, notes, results, compared):
    text = html.escape
    out = [f"<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Ringlog beside others</title><style>{STYLE}</style></head><body>", "<h1>Ringlog beside others</h1><ul>"]
    out += [f"<li>{text(name)}: {text(str(value))}</li>" for name, value in machine.items()]
    out.append("</ul>")
    out += [bars(column, scale, results) for column, scale in PLOTS]
    head = "".join(f"<th>{text(name)}</th>" for name in ("line", "side", *COLUMNS, "to Kafka's default", "limited by", "runs"))
    out.append(f"<h2>Every line</h2><table><tr>{head}</tr>")
    for work, side, figures, runs, ratio, limit in table:
        out.append("<tr>" + "".join(f"<td>{text(str(cell))}</td>" for cell in (LINES[work].what, side, *shown(figures), ratio, limit, runs)) + "</tr>")
    out.append("</table><h2>Targets</h2><table>")
    for target, what, wanted, value, met in targets:
        out.append("<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in (target, what, wanted, value, verdict(met))) + "</tr>")
    out.append("</table>")
    for work, said in compared.items():
        out.append(f"<h2>{text(LINES[work].what)}: ringlog load compare</h2><pre>{text(said)}</pre>")
    out += ["<h2>Notes</h2><ul>", *(f"<li>{text(note)}</li>" for note in notes), "</ul></body></html>"]
    return "\n".join(out) + "\n"


def bars(column, scale, results):
    """A bar for the median of each side of each line that has this figure, and a whisker from the least to the most of its repeats."""
    groups = []
    for work in LINES:
        sides = [(side, [run[column] for run in runs if column in run]) for side, runs in results.get(work, {}).items()]
        sides = [(side, values) for side, values in sides if values]
        if sides:
            groups.append((work, sides))
    if not groups:
        return ""
    left, width, step = 130, 560, 15
    height = sum(len(sides) * step + 24 for _, sides in groups) + 30
    out = [f"<h2>{html.escape(column)}{' (logarithmic within each line)' if scale == 'log' else ''}</h2>", f"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{left + width + 90}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"11\">"]
    y = 10
    for work, sides in groups:
        # Lines differ by orders of magnitude: each has a scale of its own.
        most = max(max(values) for _, values in sides) or 1
        least = min((v for _, values in sides for v in values if v > 0), default=most)

        def length(value):
            if scale == "linear" or value <= 0 or most <= least:
                return max(value / most * width, 1)
            return (0.1 + 0.9 * math.log(value / least) / math.log(most / least)) * width

        out.append(f"<text x=\"0\" y=\"{y + 11}\">{html.escape(LINES[work].what)}</text>")
        y += 14
        for side, values in sides:
            middle = statistics.median(values)
            out.append(f"<rect x=\"{left}\" y=\"{y + 2}\" width=\"{length(middle):.1f}\" height=\"{step - 4}\" fill=\"{COLORS[side]}\"/>")
            out.append(f"<line x1=\"{left + length(min(values)):.1f}\" x2=\"{left + length(max(values)):.1f}\" y1=\"{y + 7}\" y2=\"{y + 7}\" stroke=\"#000\"/>")
            out.append(f"<text x=\"{left - 6}\" y=\"{y + 11}\" text-anchor=\"end\">{side}</text>")
            out.append(f"<text x=\"{left + length(max(values)) + 5:.1f}\" y=\"{y + 11}\">{perf.number(middle)}</text>")
            y += step
        y += 10
    return "\n".join(out) + "\n</svg>"
