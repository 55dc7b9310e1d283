"""Prints the verdict of each case in a junit file of python3 -m test, sorted: what two runs are compared by."""
import sys
import xml.etree.ElementTree as ET

lines = []
for case in ET.parse(sys.argv[1]).iter("testcase"):
    bad = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
    lines.append(f"{case.get('name')} {bad[0] if bad else case.get('result')}")
print(*sorted(lines), sep="\n")
