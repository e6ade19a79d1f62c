"""Makes cases.json: what jinja2 renders of each template below, set as transformers sets it for chat templates.

    pip install jinja2==3.1.6
    python3 make_cases.py

A template may be followed by a part of the error with which it is refused here, although jinja2 renders it.
"""

import copy
import datetime
import json
import pathlib
import re

import jinja2
import jinja2.ext
from jinja2 import nodes, pass_eval_context
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = 1721998862  # 2024-07-26 13:01:02 UTC, a Friday

VARIABLES = {
    "l": [3, 1, 2],
    "w": ["b", "A", "c", "a"],
    "s": "Hello, World",
    "d": {"b": 1, "a": "x", "C": None},
    "rows": [{"n": "x", "k": 2, "t": {"u": 5}}, {"n": "Y", "k": 1, "t": {"u": 4}}, {"n": "x", "k": 3, "t": {}}],
    "big": 9007199254740993,
    "neg": -7,
    "f": 1234567.891,
    "uni": "Zoë's \"日本\" <b> 👍\n\t\\",
    "nested": [1, [2, [3, []]], [4]],
    "tools": [{"type": "function", "function": {"name": "get", "parameters": {"é": [1.0, None, True]}}}],
    "empty": [],
    "no": None,
    "yes": True,
    "lines": "one\ntwo\r\n\nthree\n",
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
                 {"role": "assistant", "content": None, "tool_calls": [{"name": "f"}]}],
}



class R(str):
    """A part of the error with which the template before is refused here, although jinja2 renders it."""


GENERATOR = "make it a list first"

CASES = [
    # White space.
    "a\n  {% if yes %}\n  b\n  {% endif %}\n c",
    "a  {%- if yes -%}  b  {%- endif -%}  c",
    "a\n  {%+ if yes %}\n b{% endif +%}\nc",
    "  {{ 1 }}  \n  {{- 2 -}}  \n 3",
    "{# a #}\nb\n  {# c #}\nd",
    "a {#- b -#} c",
    "a {# b +#}\nc",
    "  {# a #}b",
    "x{# a #}\n{# b #}\ny",
    "{% raw %}\n  {{ x }} {% if %}\n{% endraw %}\ny",
    "a {%- raw -%} {{ b }} {%- endraw -%} c",
    "  {% raw %}a{% endraw %}  b",
    "a\r\n{% if yes %}\r\nb\r\n{% endif %}\r\nc\r\n",
    "a\rb\r\nc\n\n",
    "{% for x in l %}\n  {{ x }}\n{% endfor %}\n",
    "{{-5}}{{ -5 }}{{+5 }}",
    "{% if yes -%}\n\n  a\n{%- endif %}\n\n",
    "{%if yes%}a{%endif%}{{s}}",
    "\t{% set x = 1 %}\t\nb",
    "{{ '}}' }}{{ '{%' }}{# }} #}",
    "a{% if yes %}{# c #}{% endif %}\nb\n",
    "{{ {'a': {'b': 1}} }}{{ {'a': {}}['a'] }}",
    "{% set x %}\n  a\n{% endset %}[{{ x }}]",
    # Text.
    r"{{ 'a\tb\\c\'d\"e' }}",
    r"{{ '\x41\u00e9\U0001f600\101\0' }}",
    r"{{ '\/\d\q\é\日\👍' }}",
    r"{{ '\a\b\f\v\r' | tojson }}",
    "{{ 'a\\\nb' }}",
    "{{ 'a\nb\r\nc' }}",
    "{{ 'a' 'b' \"c\" }}",
    r"{{ '\N{BULLET}' }}", R("'\\N' is not supported"),
    r"{{ '\x4' }}",
    r"{{ '\ud83d' }}",
    "{{ \"it's\" }}{{ 'é日👍' }}",
    # Numbers.
    "{{ 1_000 }} {{ 0xFf }} {{ 0o17 }} {{ 0b101 }} {{ 1e3 }} {{ 1.5E-7 }} {{ 00 }}",
    "{{ 007 }}",
    "{{ 1. }}",
    "{{ l.0 }} {{ nested.1.1.0 }}",
    "{{ 9007199254740993 }} {{ big }} {{ big + 1 }} {{ big * big }}",
    "{{ 123456789012345678901234567890 * 10 }}",
    "{{ 2 ** 200 }}", R("127 bits"),
    "{{ 999999999999999999999999999999999999999999 }}", R("127 bits"),
    "{{ big / 3 }}", R("2^53"),
    "{{ big == 9007199254740992.0 }} {{ big > 9007199254740992.0 }} {{ 1 == 1.0 }}",
    "{{ neg // 2 }} {{ neg % 3 }} {{ 7 % -3 }} {{ neg // -2 }} {{ -7.5 // 2 }} {{ -7.5 % 2 }}",
    "{{ 1e16 % 3 }} {{ -1 % 1e300 }} {{ 5.5 // -2 }} {{ 0.3 % 0.1 }} {{ 1 // 0.1 }}",
    "{{ 0.1 + 0.2 }} {{ 1e22 }} {{ 1e-5 }} {{ 123456789.123 }} {{ 1.0 }} {{ 5e-324 }} {{ 1e15 }}",
    "{{ 7 / 2 }} {{ 6 / 3 }} {{ 2 ** 0.5 }} {{ 2 ** -2 }} {{ -2 ** 2 }} {{ 2 ** 3 ** 2 }}",
    "{{ (-8) ** 0.5 }}", R("complex"),
    "{{ 0 ** -1 }}",
    "{{ 1 / 0 }}",
    "{{ 1 % 0 }}",
    "{{ 1 + '1' }}",
    "{{ +'a' }}",
    "{{ - - 3 }} {{ --3 }} {{ -+-3 }} {{ +true }} {{ -true }}",
    "{{ -1|abs }} {{ (-1)|abs }} {{ -l[0] }} {{ -d.b }}",
    "{{ true + true }} {{ true * 3 }} {{ false // 1 }} {{ true / 2 }}",
    "{{ [1] * 2 }} {{ 2 * 'ab' }} {{ 'ab' * -1 }} {{ (1,) * 2 }}",
    "{{ [1] + (2,) }}",
    "{{ 1e308 * 10 }} {{ -1e308 * 10 }}",
    # Round, int, float.
    "{{ 2.5|round }} {{ 3.5|round }} {{ 2.675|round(2) }} {{ 1234.5|round(-2) }} {{ 0.5|round }} {{ -0.5|round }}",
    "{{ 5|round }} {{ 15|round(-1) }} {{ 25|round(-1) }} {{ true|round }} {{ 1234|round(-2) }} {{ -15|round(-1) }}",
    "{{ 2.1|round(method='ceil') }} {{ 2.19|round(1, 'floor') }} {{ 42.55|round(1, 'ceil') }} {{ 7|round(0, 'ceil') }}",
    "{{ 1.1|round(method='up') }}",
    "{{ '42'|int }} {{ ' 42 '|int }} {{ '42.7'|int }} {{ 'x'|int }} {{ 'x'|int(7) }} {{ no|int }} {{ 3.99|int }} {{ -3.99|int }}",
    "{{ '0x1f'|int(base=16) }} {{ '1f'|int(0, 16) }} {{ '0b11'|int(base=0) }} {{ '1_000'|int }} {{ '1e3'|int }}",
    "{{ '٣'|int }}", R("beyond 0 to 9"),
    "{{ '٣'|float }}", R("beyond 0 to 9"),
    "{{ missing|int }}",
    "{{ '1.5'|float }} {{ 'nan'|float }} {{ '-inf'|float }} {{ 'x'|float }} {{ 'x'|float(2) }} {{ 3|float }} {{ l|float }} {{ '1_0.5'|float }}",
    "{{ missing|float }}",
    "{{ (1e400)|int }}",
    "{{ -3|abs }} {{ -2.5|abs }} {{ true|abs }} {{ 'a'|abs }}",
    # Comparisons and logic.
    "{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1 != 2 }} {{ 1 in l in [l] }} {{ 3 > 2 >= 2 == 2.0 }}",
    "{{ 'a' not in 'abc' }} {{ not 'a' in 'abc' }} {{ 4 not in l }} {{ 'b' in d }} {{ none in [none] }}",
    "{{ not not 1 }} {{ not 1 == 2 }} {{ 1 and 'x' }} {{ 0 or '' or 'z' }} {{ 1 or 1/0 }} {{ 0 and 1/0 }}",
    "{{ [1, 2] < [1, 3] }} {{ (1, 2) < (1, 2, 0) }} {{ 'a' < 'B' }} {{ [1, 'a'] == [1, 'a'] }}",
    "{{ 1 < 'a' }}",
    "{{ none < 1 }}",
    "{{ [1, 'a'] < [1, 2] }}",
    "{{ {'a': 1} < {'a': 2} }}",
    "{{ none == none }} {{ none == false }} {{ 0 == false }} {{ '' == none }} {{ [] == () }}",
    "{{ 'x' if yes }}|{{ 'x' if no }}|{{ 'x' if no else 'y' }}|{{ 1 if 0 else 2 if 0 else 3 }}",
    "{{ ('x' if no) is defined }} {{ ('x' if no).a }}",
    "{{ 'a' ~ 1 ~ none ~ true ~ 1.0 ~ [1] ~ missing }} {{ 1 ~ 2 + 3 }} {{ 1 + 2 ~ 3 }}",
    "{{ 'a' in no }}",
    "{{ 1 in 'abc' }}",
    "{{ 1, 2 }} {{ (1) }} {{ (1,) }} {{ () }} {{ 'a', }}",
    # Undefined.
    "{{ missing }}|{{ missing.x is defined }}",
    "{{ missing.x }}",
    "{{ missing['x'] }}",
    "{{ missing[1:] }}",
    "{{ missing() }}",
    "{{ missing + 1 }}",
    "{{ 1 + missing }}",
    "{{ missing < 1 }}",
    "{{ -missing }}",
    "{{ d.zz.y }}",
    "{{ d.zz }}|{{ d['zz'] }}|{{ l[9] }}|{{ s[99] }}|{{ l.foo }}|{{ none.x }}|{{ (1).x }}",
    "{{ missing == missing2 }} {{ missing == none }} {{ missing|length }} {{ missing|list }} {{ missing|string|length }}",
    "{% for x in missing %}a{% else %}b{% endfor %}",
    "{% for x in no %}a{% endfor %}",
    "{% for x in 5 %}a{% endfor %}",
    "{{ missing|default('a') }} {{ ''|default('a') }} {{ ''|default('a', true) }} {{ no|d('b') }} {{ no|d('b', boolean=true) }} {{ missing|d }}",
    "{{ missing is callable }} {{ missing is iterable }} {{ missing is sequence }} {{ missing is mapping }} {{ missing is string }}",
    "{{ [missing] }} {{ {'a': missing} }}",
    "{{ 'x' in missing }} {{ missing in l }} {{ missing or 'y' }} {{ missing|upper }}{{ missing|join(',') }}",
    "{{ '%s|%s' % (missing, none) }} {{ '%s' % missing }}",
    "{{ s.__class__ }}|{{ s.__class__.__name__ }}",
    "{{ d.__len__() }}",
    # Items, slices.
    "{{ l[-1] }} {{ l[true] }} {{ s[-5:] }} {{ s[::-1] }} {{ s[1:8:3] }} {{ l[::-2] }} {{ l[5:] }} {{ l[-2:9] }} {{ l[none:2] }}",
    "{{ s[-1:-6:-2] }} {{ l[2:0:-1] }} {{ (1, 2, 3)[1:] }} {{ s[:0] }}| {{ s[3:3] }}|",
    "{{ l[::0] }}",
    "{{ l['a':] }}",
    "{{ d[1:] }}",
    "{{ d[l] }}|{{ l[d] }}|{{ l['0'] }}",
    "{{ l[0, 1] }}|{{ d['a', 'b'] }}",
    "{{ l[:1, 2] }}",
    "{{ d.b }} {{ d['b'] }} {{ d.items is callable }} {{ d['items'] is callable }} {{ {'items': 5}.items is callable }} {{ {'items': 5}['items'] }}",
    "{{ {'get': 1}.get('get') }} {{ {'update': 1}.update }}|{{ {'update': 1}['update'] }}",
    "{{ {1: 'a', 1.0: 'b', true: 'c'} }} {{ {none: 1}[none] }} {{ {1.5: 2}[1.5] }} {{ {'1': 2}[1] }}",
    "{{ {(1, 2): 3}[(1, 2)] }}", R("as a key"),
    "{{ {[1]: 2} }}",
    "{{ dict(a=1, b=2) }} {{ dict([('x', 1)]) }} {{ dict({'a': 1}, b=2) }} {{ dict(**d).b }}",
    # Dicts and views.
    "{{ d.keys() }} {{ d.values() }} {{ d.items() }}",
    "{{ d.keys()|list }} {{ d.items()|length }} {{ d.values()|list|length }} {{ 'a' in d.keys() }} {{ ('b', 1) in d.items() }}",
    "{{ d.keys()[0] }}|{{ d.items() is sequence }} {{ d.items() is iterable }} {{ d is sequence }}",
    "{{ d.items()|tojson }}",
    "{{ d.keys() == d.keys() }}", R("comparison of a dict's"),
    "{{ d.keys() + ['x'] }}",
    "{{ d.get('b') }} {{ d.get('q') }} {{ d.get('q', 7) }} {{ d.get('q', default=7) }}",
    "{{ d.get() }}",
    "{{ d.pop('b') }}",
    "{{ d.update({'x': 1}) }}",
    "{{ d.copy() }} {{ l.copy() }} {{ d|length }} {{ d|list }} {{ d|first }} {{ d|last }}",
    "{% for k in d %}{{ k }}{% endfor %} {% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k, v in d|dictsort %}{{ k }};{% endfor %} {{ d|dictsort(true) }} {{ {'b': 1, 'a': 2}|dictsort(by='value') }} {{ {'b': 1, 'a': 2}|dictsort(reverse=true) }}",
    "{{ d|dictsort(by='x') }}",
    "{{ d|dictsort(by='value') }}",
    "{{ d|items|list }} {{ missing|items|list }}",
    "{{ l|items|list }}",
    # Lists.
    "{{ l.append(1) }}",
    "{% set x = l.append(1) %}",
    "{% do l.append(1) %}",
    "{{ l.index(1) }} {{ l.count(3) }} {{ l.index(2, 1) }} {{ (1, 2, 1).count(1) }}",
    "{{ l.index(9) }}",
    "{{ l.index(3, 1) }}",
    "{{ l.sort() }}",
    "{{ l + [4] }} {{ l|first }} {{ l|last }} {{ empty|first }}| {{ l|length }} {{ l|count }}",
    "{{ [[1, 2], [3]]|sum(start=[]) }} {{ l|sum }} {{ [1.5, 2]|sum }} {{ rows|sum(attribute='k') }} {{ l|sum(start=10) }}",
    "{{ w|sum }}",
    "{{ w|sum(start='') }}",
    "{{ range(5)|list }} {{ range(2, 10, 3)|list }} {{ range(3, 0, -1)|list }} {{ range(3) }} {{ range(1, 9, 2) }} {{ range(10)[2:5] }} {{ range(3)[1] }} {{ range(10)|last }}",
    "{{ range(3) == [0, 1, 2] }} {{ range(3) == range(0, 3) }} {{ range(3)|length }} {{ 2 in range(3) }} {{ range(3)|tojson }}",
    "{{ range(3)|list + [9] }} {{ range(0)|list }}",
    "{{ range(1, 2, 0) }}",
    "{{ range(1.5) }}",
    "{{ range(stop=3) }}",
    # Sorting, grouping.
    "{{ w|sort }} {{ w|sort(reverse=true) }} {{ w|sort(case_sensitive=true) }} {{ w|sort(true, true) }} {{ l|sort }}",
    "{{ rows|sort(attribute='n')|map(attribute='k')|list }} {{ rows|sort(attribute='n,k')|map(attribute='k')|list }} {{ rows|sort(reverse=true, attribute='n')|map(attribute='k')|list }}",
    "{{ ['a', 1]|sort }}",
    "{{ rows|sort(attribute='zz') }}",
    "{{ nested|sort }}",
    "{{ 'hello'|sort }} {{ d|sort }} {{ [true, 0, 2]|sort }} {{ [1, 1.0, true]|unique|list }}",
    "{{ w|unique|list }} {{ w|unique(true)|list }} {{ rows|unique(attribute='n')|map(attribute='k')|list }}",
    "{% for g in rows|groupby('n') %}{{ g.grouper }}:{{ g.list|length }};{% endfor %}",
    "{% for k, v in rows|groupby('n') %}{{ k }}:{{ v|map(attribute='k')|join(',') }};{% endfor %}",
    "{{ rows|groupby('n', case_sensitive=true)|map('first')|list }} {{ rows|groupby(attribute='t.u', default=0)|map(attribute=0)|list }}",
    "{{ [{'a': 1}, {}]|groupby('a', default=7) }}",
    "{{ [{'a': 1}, {}]|groupby('a') }}",
    "{{ rows|groupby('n')|first }}",
    "{{ rows|groupby('k')|map(attribute='grouper')|list }} {{ (rows|groupby('k'))[0][1] }}",
    "{{ l|min }} {{ l|max }} {{ w|min }} {{ w|max(case_sensitive=true) }} {{ rows|max(attribute='k') }} {{ empty|min }}| {{ 'hello'|max }}",
    # Map, select.
    "{{ w|map('upper')|list }} {{ w|map('replace', 'a', 'z')|list }} {{ rows|map(attribute='n')|join }} {{ rows|map(attribute='t.u', default='-')|list }}",
    "{{ rows|map(attribute='zz.y')|list }}",
    "{{ rows|map(attribute='zz', default='q')|list }} {{ nested|map('first')|list }}",
    "{{ [[1, 2], [3, 4]]|map(attribute=1)|list }} {{ [[1, 2], [3, 4]]|map('last')|list }} {{ [[1, 2]]|map('join', '-')|list }}",
    "{{ l|select('gt', 1)|list }} {{ l|reject('odd')|list }} {{ [0, 1, none, '']|select|list }} {{ [0, 1]|reject|list }} {{ l|select('in', [1, 9])|list }}",
    "{{ rows|selectattr('k', 'ge', 2)|map(attribute='k')|list }} {{ rows|rejectattr('zz')|list|length }} {{ rows|selectattr('t.u', 'defined')|list|length }} {{ rows|selectattr('n', 'equalto', 'x')|list|length }}",
    "{{ l|map }}", R("requires a filter"),
    "{{ l|map('nope')|list }}",
    "{{ l|select('nope')|list }}",
    "{{ no|map('upper')|list }} {{ no|select|list }}",
    "{{ no|list }}",
    "{{ no|join }}",
    "{{ no|first }}",
    "{{ no|length }}",
    "{{ w|map('upper') }}", R(GENERATOR),
    "{{ [w|select] }}", R(GENERATOR),
    "{{ w|map('upper')|tojson }}",
    "{{ w|map('upper')|length }}",
    "{{ w|map('upper')|last }}",
    "{{ (w|map('upper'))[0] }}|{{ w|map('upper')|first }}",
    "{% set g = w|map('upper') %}{{ g|first }} {{ g|join }} {{ g|list }}",
    "{% set g = l|select %}{% for x in g %}{{ x }}{% endfor %}{% for x in g %}{{ x }}{% else %}none{% endfor %}",
    "{% if empty|select %}yes{% endif %}{% if empty|select|list %}no{% endif %}",
    "{{ 1 in l|select('gt', 0) }} {{ l|reverse|list }} {{ 'abc'|reverse }} {{ d|reverse|list }} {{ l|select|reverse }}",
    "{{ l|reverse }}", R(GENERATOR),
    "{% set a, b = w|map('upper')|list|batch(2) %}{{ a }}{{ b }}",
    "{{ range(7)|batch(3)|list }} {{ range(7)|batch(3, 'x')|list }} {{ range(7)|slice(3)|list }} {{ range(7)|slice(3, 'x')|list }} {{ range(6)|slice(3, 'x')|list }}",
    "{{ l|batch(0)|list }}", R("above 0"),
    "{{ l|join }} {{ l|join('-') }} {{ rows|join(', ', attribute='n') }} {{ 'abc'|join('.') }} {{ d|join }}",
    "{{ l|random }}", R("no filter 'random'"),
    # Text filters.
    "{{ uni|upper }} {{ 'straße'|upper }} {{ 'ÀB'|lower }} {{ 'hELLO wORLD'|capitalize }} {{ 'foo bar-baz (qux) [x] <y>'|title }} {{ \"they're bill's\"|title }}",
    "{{ '  a '|trim }}| {{ 'xxaxx'|trim('x') }} {{ s|length }} {{ s|wordcount }} {{ 5|string + '5' }} {{ l|string }}",
    "{{ s|replace('l', 'L') }} {{ s|replace('l', 'L', 2) }} {{ 'aaa'|replace('', '-') }} {{ 123|replace(2, 'x') }}",
    "{{ s|replace('l') }}",
    "{{ s|center(20) }}| {{ 'ab'|center(5) }}| {{ 'abc'|center(6) }}|",
    "{{ lines|indent }}|{{ lines|indent(2, true) }}|{{ lines|indent('> ', blank=true) }}|{{ 'a\nb'|indent(width=1, first=true) }}",
    "{{ 5|indent }}",
    "{{ s|truncate(5) }} {{ s|truncate(9, true) }} {{ s|truncate(9) }} {{ s|truncate(8, leeway=0) }} {{ s|truncate(8, true, '~', 0) }} {{ 'short'|truncate(3) }}",
    "{{ s|truncate(2, end='....') }}",
    "{{ uni|e }} {{ uni|escape|length }} {{ '<'|e|e }} {{ '<'|e|forceescape }} {{ '<'|safe ~ '<' }} {{ ('<'|safe) + '<' }}",
    "{{ uni|urlencode }} {{ d|urlencode }} {{ [('a b', 'c/d')]|urlencode }} {{ 'a/b c'|urlencode }} {{ 5|urlencode }}",
    "{{ 'a %s b %d' |format('x', 5) }} {{ '%(a)s'|format(a=1) }} {{ '%s'|format }}",
    "{{ {'b': 1, 'a': [1, 'x']}|pprint }} {{ 'a'|pprint }} {{ none|pprint }}",
    "{{ range(60)|list|pprint }}", R("more than a line"),
    "{{ s|striptags }}", R("no filter 'striptags'"),
    "{{ s|wordwrap(5) }}", R("no filter 'wordwrap'"),
    "{{ 1000|filesizeformat }}", R("no filter 'filesizeformat'"),
    "{{ s|urlize }}", R("no filter 'urlize'"),
    "{{ d|xmlattr }}", R("no filter 'xmlattr'"),
    "{{ d|attr('b') }}|{{ d|attr('keys') is callable }} {{ s|attr('upper')() }}",
    "{{ s|nope }}",
    "{{ s|upper.x }}",
    "{{ s|upper|lower|title }} {{ s|upper()|first }} {{ (s|upper)[0] }} {{ s.upper()|lower }}",
    "{{ s is nope }}",
    # JSON.
    "{{ tools|tojson }}",
    "{{ tools|tojson(indent=2) }}",
    "{{ tools|tojson(indent=0) }}",
    "{{ uni|tojson }} {{ uni|tojson(ensure_ascii=true) }}",
    "{{ {'b': 1, 'a': {'d': 1, 'c': 2}}|tojson(sort_keys=true) }} {{ {10: 1, 9: 2}|tojson(sort_keys=true) }}",
    "{{ {'a': [1, 2]}|tojson(separators=(',', ':')) }} {{ {'a': [1, 2]}|tojson(indent=1, separators=(',', ':')) }}",
    "{{ {1: 2, true: 3, none: 4, 1.5: 5}|tojson }} {{ (1, 2)|tojson }} {{ 1e20|tojson }} {{ big|tojson }} {{ ''|tojson }}",
    "{{ {'a': 1, 2: 3}|tojson(sort_keys=true) }}",
    "{{ [1]|tojson(2) }} {{ 'é'|tojson(2) }} {{ 'é'|tojson(true, 1) }} {{ []|tojson(indent=2) }} {{ {}|tojson(indent=2) }} {{ [[]]|tojson(indent=2) }}",
    "{{ [1, {'a': 2}]|tojson(indent='\t') }} {{ [1]|tojson(none, none, none, false) }}",
    "{{ missing|tojson }}",
    "{{ d.keys|tojson }}",
    "{{ ('nan'|float)|tojson }} {{ ('inf'|float)|tojson }} {{ '\x7f\u2028'|tojson }}",
    "{{ '<script>&\\'\"'|tojson }} {{ '<'|safe|tojson }}",
    # Python's text.
    "{{ 'a,b,,c'.split(',') }} {{ ' a  b '.split() }} {{ 'a b c'.split(' ', 1) }} {{ 'a b c'.rsplit(' ', 1) }} {{ 'a b c'.split(maxsplit=1) }} {{ 'abc'.split('') }}",
    "{{ 'a,b,,c'.split(',') }} {{ ' a  b '.split() }} {{ 'a b c'.split(' ', 1) }} {{ 'a b c'.rsplit(none, 1) }} {{ 'a b c'.split(maxsplit=1) }} {{ ''.split(',') }} {{ ''.split() }}",
    "{{ 'a=b=c'.partition('=') }} {{ 'a=b=c'.rpartition('=') }} {{ 'abc'.partition('x') }} {{ 'abc'.rpartition('x') }}",
    "{{ 'abc'.partition('') }}",
    "{{ 'xxabcxx'.strip('x') }} {{ ' a '.lstrip() }}| {{ ' a '.rstrip() }}| {{ 'abcba'.strip('ab') }} {{ '\u3000a'.strip() }}",
    "{{ s.startswith('Hell') }} {{ s.startswith(('x', 'H')) }} {{ s.startswith('World', 7) }} {{ s.endswith('World', 0, 12) }} {{ s.endswith('o', 0, 5) }} {{ s.startswith('', 99) }}",
    "{{ s.startswith(['x']) }}",
    "{{ s.find('o') }} {{ s.find('o', 5) }} {{ s.find('o', 5, 7) }} {{ s.rfind('o') }} {{ s.rfind('o', 0, 6) }} {{ s.index('W') }} {{ s.find('é') }} {{ 'é日x'.find('x') }} {{ s.find('', 50) }} {{ s.find('l', -4) }}",
    "{{ s.index('z') }}",
    "{{ s.count('l') }} {{ s.count('l', 4) }} {{ s.count('') }} {{ 'aaa'.count('aa') }} {{ s.replace('l', 'L', 1) }} {{ s.replace('l', '') }}",
    "{{ s.replace(old='l', new='x') }}",
    "{{ 'abc'.upper() }} {{ 'ABC'.lower() }} {{ 'aBC dEF'.title() }} {{ \"it's\".title() }} {{ 'aBC'.capitalize() }} {{ 'aBc'.swapcase() }} {{ 'STRASSE'.casefold() }} {{ 'ß'.casefold() }}",
    "{{ 'ßx'.title() }} {{ 'ﬁn'.capitalize() }} {{ 'ﬁn'|capitalize }} {{ 'ßx ßy'|title }}",
    "{{ 'ǆ'.title() }}", R("title case"),
    "{{ 'ΣΑΣ'.swapcase() }}", R("swapcase() of 'Σ'"),
    "{{ 'ab'.center(5, '*') }} {{ 'abc'.center(6, '*') }} {{ 'ab'.ljust(4) }}| {{ 'ab'.rjust(4, '.') }} {{ '-5'.zfill(4) }} {{ 'ab'.zfill(1) }}",
    "{{ 'ab'.center(5, '**') }}",
    "{{ 'a\tb'.expandtabs() }}| {{ 'a\tb'.expandtabs(4) }} {{ '\ta\n\tb'.expandtabs(tabsize=2) }}",
    "{{ lines.splitlines() }} {{ lines.splitlines(true) }} {{ ''.splitlines() }} {{ 'a\x0bb\u2028c'.splitlines() }}",
    "{{ 'abc'.isalpha() }} {{ 'ab1'.isalnum() }} {{ '12'.isdigit() }} {{ '٣'.isdigit() }} {{ '٣'.isdecimal() }} {{ '½'.isnumeric() }} {{ ' '.isspace() }} {{ ''.isspace() }} {{ 'Ab'.istitle() }} {{ 'a1'.islower() }} {{ 'A1'.isupper() }} {{ 'é'.isascii() }} {{ 'a_1'.isidentifier() }} {{ '\n'.isprintable() }}",
    "{{ '²'.isdigit() }}", R("isdigit"),
    "{{ 'unhappy'.removeprefix('un') }} {{ 'a.txt'.removesuffix('.txt') }} {{ 'a'.removeprefix('b') }}",
    "{{ ','.join(['a', 'b']) }} {{ ','.join('abc') }} {{ ','.join(d) }} {{ '-'.join(w|map('upper')) }} {{ ''.join([]) }}",
    "{{ ','.join([1]) }}",
    "{{ ','.join(5) }}",
    "{{ s.upper }}", R("is printed"),
    "{{ s.encode() }}", R("no attribute 'encode'"),
    "{{ s.nope() }}",
    "{{ s.upper(1) }}",
    "{{ 'a' + 'b' 'c' }} {{ 'é' + uni }} {{ 'a' in s }} {{ s == 'Hello, World' }} {{ 'abc' > 'abd' }}",
    "{{ ['a', \"b'c\", 'd\"e', 'f\\n\\\\', 'é\x01\x7f\u200b'] }}",
    # % and format.
    "{{ '%d %i %5d|%-5d|%05d %+d %x %X %o %#x %c' % (1, 2, 3, 4, 5, 6, 255, 255, 8, 255, 'a') }}",
    "{{ '%f %.2f %8.3f|%-8.1f|%08.2f %e %E %g %g %G %.3g' % (1.5, 2.345, 3.14159, 2.0, -1.5, 12345.678, 0.00012, 1e10, 0.0001, 1e-10, 1234.5) }}",
    "{{ '%s %r %10s|%-10s|%.2s %%' % ('a', 'b', 'c', 'd', 'efg') }}",
    "{{ '%(a)s %(b)03d' % {'a': 'x', 'b': 7} }} {{ '%s' % l }} {{ '%s' % (l,) }} {{ '%*d|%-*d|' % (5, 42, 4, 7) }} {{ '%.*f' % (1, 2.55) }}",
    "{{ '%d' % 'a' }}",
    "{{ '%d' % 3.9 }} {{ '%d' % true }} {{ '%s' % 3.0 }}",
    "{{ '%s %s' % 'a' }}",
    "{{ '%s' % ('a', 'b') }}",
    "{{ 'x' % {} }} {{ 'x' % [] }} {{ '%%' % () }} {{ 'x' % () }}",
    "{{ 'x' % 5 }}",
    "{{ '%y' % 5 }}",
    "{{ '%x' % 2.5 }}",
    "{{ '{} {} {}'.format(1, 'a', none) }} {{ '{0}{1}{0}'.format('a', 'b') }} {{ '{a}-{b}'.format(a=1, b=2) }} {{ '{{}}'.format() }}",
    "{{ '{:,} {:_} {:,.2f} {:,}'.format(1234567, 1234567, f, -1234.5) }} {{ '{:012,}'.format(1234567) }} {{ '{:_x}'.format(123456789) }}",
    "{{ '{:>6}|{:<6}|{:^6}|{:*^7}|{:06}|{:=+6}'.format('a', 'b', 'c', 'd', 42, 7) }}",
    "{{ '{:d} {:5d} {:+d} {: d} {:x} {:#x} {:X} {:o} {:#o} {:b} {:#010b} {:c}'.format(1, 2, 3, 4, 255, 255, 255, 8, 8, 5, 5, 65) }}",
    "{{ '{:f} {:.1f} {:e} {:.3e} {:g} {:g} {:.2%} {:%} {:.3} {:.10} {:8.3f}|'.format(1.5, 2.25, 12345.678, 0.00012, 1e10, 0.5, 0.1234, 1, 3.14159, 2.0, 1.0) }}",
    "{{ '{:.0f} {:.0f} {:.0f} {:.2f} {} {} {:.1} {:.3} {:.5}'.format(0.5, 1.5, 2.5, 1.005, 1e16, 0.1, 25.0, 1234.5, 100000.0) }}",
    "{{ '{:.3}|{:>5.2}|{!r}|{!s:>4}'.format('abcdef', 'xyz', 'q', 'w') }} {{ '{0[a]} {0.upper}'.format(d) if no else '{0[a]} {1[0]}'.format(d, l) }}",
    "{{ '{:{}}|{:{w}.{p}f}'.format('a', 5, 2.5, w=8, p=2) }} {{ '{:>{w}}'.format(1, w=4) }}",
    "{{ '{:d}'.format(1.5) }}",
    "{{ '{:s}'.format(1) }}",
    "{{ '{:,}'.format('a') }}",
    "{{ '{'.format() }}",
    "{{ '{} {1}'.format(1, 2) }}",
    "{{ '{}'.format() }}",
    "{{ '{a}'.format() }}",
    "{{ '{:>5}'.format(none) }}",
    "{{ '{} {} {}'.format(true, 1.0, [1]) }} {{ '{:5}|{:5}|{:<5}|{:d}'.format(true, 3, 3, true) }} {{ '{:n}'.format(5) }}",
    # Tests.
    "{{ 1 is number }} {{ true is number }} {{ true is integer }} {{ 1 is integer }} {{ 1.0 is float }} {{ '1' is number }} {{ none is none }} {{ true is boolean }} {{ 1 is true }} {{ true is true }}",
    "{{ 's' is string }} {{ l is sequence }} {{ d is mapping }} {{ l is iterable }} {{ 5 is iterable }} {{ 's' is iterable }} {{ range is callable }} {{ s.upper is callable }} {{ l is callable }} {{ l|select is sequence }} {{ l|select is iterable }}",
    "{{ 3 is odd }} {{ -3 is odd }} {{ 4 is even }} {{ 9 is divisibleby 3 }} {{ 9 is divisibleby(2) }} {{ 'a' is lower }} {{ 'A' is upper }} {{ '' is lower }}",
    "{{ 1 is eq 1 }} {{ 1 is equalto 2 }} {{ 1 is ne 2 }} {{ 1 is lt 2 }} {{ 2 is ge 2 }} {{ 3 is gt(2) }} {{ 'a' is in 'abc' }} {{ 1 is not in l }} {{ 1 is sameas 1 }} {{ l is sameas l }} {{ [1] is sameas [1] }} {{ true is sameas 1 }}",
    "{{ x is defined }} {{ x is not defined }} {{ l is defined and l }} {{ d.q is undefined }} {{ no is defined }} {{ not no is none }}",
    "{{ 'upper' is filter }} {{ 'nope' is filter }} {{ 'odd' is test }} {{ '<'|safe is escaped }} {{ '<' is escaped }}",
    "{{ 1 is odd is true }}",
    "{{ 1 is divisibleby }}",
    "{{ 'a' is odd }}",
    "{{ 1 is string(2) }}",
    "{{ missing is odd }}",
    "{{ 3 is eq -3 }}",
    "{{ [1, 2] is eq [1, 2] }} {{ 5 is lt 3 or 1 }} {{ 2 is in (1, 2) }} {{ 1 is in l and 2 is in l }}",
    # Statements.
    "{% if no %}a{% elif l|length > 2 %}b{% else %}c{% endif %}{% if a, %}d{% endif %}",
    "{% if no %}a{% else %}b{% elif yes %}c{% endif %}",
    "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }} {% endfor %}",
    "{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }};{% endfor %}",
    "{% for x in [1, 1, 2] %}{{ loop.changed(x) }}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "{% for x in l if x > 1 %}{{ loop.index }}{{ x }}{% else %}none{% endfor %}",
    "{% for x in l if x > 9 %}{{ x }}{% else %}none{{ x }}{% endfor %}",
    "{% for x in nested recursive %}{% if x is iterable %}[{{ loop(x) }}]{% else %}{{ x }}@{{ loop.depth }}{% endif %}{% endfor %}",
    "{% for x in l %}{{ loop([1]) }}{% endfor %}",
    "{% for a, b in [[1, 2], [3, 4]] %}{{ a + b }};{% endfor %}{% for a, (b, c) in [[1, [2, 3]]] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for a, b in [[1]] %}{% endfor %}",
    "{% for x in 'abc' %}{{ x }}.{% endfor %}{% for x in 1, 2 %}{{ x }}{% endfor %}{% for x in () %}{% else %}e{% endfor %}",
    "{% for x in range(9) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 5 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% break %}",
    "{% for x in l %}{% for y in l %}{% if y == 1 %}{% break %}{% endif %}{{ x }}{{ y }} {% endfor %}{{ loop.index }};{% endfor %}",
    "{% set x = 0 %}{% for i in l %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}",
    "{% set ns = namespace(x=0, y=[]) %}{% for i in l %}{% set ns.x = ns.x + i %}{% set ns.y = ns.y + [i] %}{% endfor %}{{ ns.x }}{{ ns.y }}{{ ns.z }}{{ ns['x'] }}{{ ns.z is defined }}",
    "{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns.b }}{% set ns.q %}text{% endset %}{{ ns.q }}",
    "{{ namespace(a=1) }}", R("is printed"),
    "{% set d.b = 1 %}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set (x, y) = [3, 4] %}{{ x }}{{ y }}{% set t = 1, %}{{ t }}",
    "{% set a, b = 1 %}",
    "{% set x = 1 %}{% if yes %}{% set x = 2 %}{% endif %}{{ x }}{% with x = 3 %}{{ x }}{% set x = 4 %}{{ x }}{% endwith %}{{ x }}",
    "{% set a = 1 %}{% with a = 2, b = a %}{{ a }}{{ b }}{% endwith %}{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q }}",
    "{% set x | upper | trim %}  a{{ 1 }} {% endset %}[{{ x }}]{% filter upper|replace('A', 'B') %}a{{ s }}{% endfilter %}",
    "{% set x %}{% set y = 1 %}{{ y }}{% endset %}{{ x }}{{ y }}{% filter indent(2, first=true) %}a\nb{% endfilter %}",
    "{% set true = 1 %}",
    "{% print 1, 'a', l %}{% print s %}",
    "{% generation %}{% set q = 1 %}{{ q }}{% endgeneration %}[{{ q }}]{% for x in l %}{% generation %}{{ x }}{{ loop.index }}{% endgeneration %}{% endfor %}",
    "a\n  {% generation %}\n  b\n  {%- endgeneration %}\nc",
    "{% for x in l %}{% generation %}{% break %}{% endgeneration %}{% endfor %}",
    "{% block a %}{{ s }}{% endblock %}{% block b scoped %}{{ l }}{% endblock b %}",
    "{% for x in l %}{% block a scoped %}{{ x }}{% endblock %}{% endfor %}",
    "{% for x in l %}{% block a %}[{{ x }}]{% endblock %}{% endfor %}",
    "{% set v = 5 %}{% block a %}{{ v }}{% set v = 6 %}{{ v }}{% endblock %}{{ v }}",
    "{% block a %}{% endblock %}{% block a %}{% endblock %}",
    "{% block a required %}{% endblock %}",
    "{% block a-b %}{% endblock %}",
    "{{ self.a() }}",
    "{% include 'x' %}", "{% import 'x' as y %}", "{% from 'x' import y %}", "{% extends 'x' %}",
    "{% autoescape true %}{{ '<' }}{% endautoescape %}", R("autoescape"),
    "{% trans %}a{% endtrans %}", "{% debug %}", "{% nope %}", "{% endif %}", "{% if yes %}", "{{ 1", "{% if yes", "{# a", "{% raw %}a", "{{ }}", "{{ 'a }}", "{{ (1 }}", "{{ 1) }}", "{{ a b }}", "{{ 1 + }}", "{{ a.. b }}", "{{ a ! b }}", "{{ a ? b }}", "{{ @ }}", "{{ a = 1 }}", "{{ [1 2] }}", "{{ {1} }}", "{{ f(a=1, 2) }}", "{{ f(*l, 2) }}", "{% for in l %}{% endfor %}", "{% for x l %}{% endfor %}", "{% set %}", "{% set 1 = 2 %}", "{% macro %}{% endmacro %}", "{% macro m(a=1, b) %}{% endmacro %}", "{% if yes %}{% else %}{% else %}{% endif %}", "{% for loop in l %}{% endfor %}",
    # Macros.
    "{% macro m(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} {{ m(1, c=4) }} {{ m(b=1, a=2) }} {{ m() }}",
    "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }} {{ m() }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, a=2) }}",
    "{% macro m(a) %}({{ caller() }}{{ a }}){% endmacro %}{% call m(1) %}x{{ s }}{% endcall %}{% call m(a=2) %}y{% endcall %}",
    "{% macro m() %}{% for x in [1, 2] %}{{ caller(x) }}{% endfor %}{% endmacro %}{% call(v) m() %}<{{ v }}>{% endcall %}{% call(v, w=9) m() %}<{{ v }}{{ w }}>{% endcall %}",
    "{% macro m() %}a{% endmacro %}{% call m() %}b{% endcall %}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}",
    "{% macro m() %}{% if caller %}{{ caller() }}{% else %}none{% endif %}{% endmacro %}{{ m() }}{% call m() %}x{% endcall %}",
    "{% macro f(n) %}{{ n if n < 2 else f(n - 1)|int + f(n - 2)|int }}{% endmacro %}{{ f(7) }}",
    "{% macro m() %}{{ later }}{% endmacro %}{% set later = 5 %}{{ m() }}",
    "{% macro m() %}{% set q = 1 %}{{ q }}{% endmacro %}{{ m() }}{{ q }}{{ m.name }}{{ m is callable }}",
    "{% macro m() %}a\n{% endmacro %}{{ m() }}|{{ m()|length }}|{{ m().upper() }}",
    "{% for x in l %}{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% endfor %}",
    "{{ m() }}{% macro m() %}{% endmacro %}",
    "{% macro m(x) %}{{ x }}{% endmacro %}{{ m(*[1]) }}{{ m(**{'x': 2}) }}{{ [1, 2]|map('string')|map('upper')|join }}",
    "{% call s() %}{% endcall %}", "{% call 5 %}{% endcall %}",
    "{% macro m() %}{% block a %}x{% endblock %}{% endmacro %}{{ m() }}",
    "{% set ns = namespace() %}{% for x in l %}{% macro m() %}{{ x }}{% endmacro %}{% set ns.m = m %}{% endfor %}{% for y in l %}{{ ns.m() }}{% endfor %}", R("outside of the block"),
    "{{ '{:^4}|{:^5}|{:^6}'.format('a', 'ab', 'a') }} {{ 'a'.center(4) }}|{{ 'ab'.center(5) }}|{{ 'a'|center(6) }}|",
    "{{ ['<'|safe|replace('a', 'b'), '<'|safe] }} {{ ('x'|safe)[0] is escaped }}",
    "{{ [] in d.keys() }}", "{{ missing|attr('x') }}",
    # Functions.
    "{% set j = joiner() %}{% for x in l %}{{ j() }}{{ x }}{% endfor %} {% set j = joiner('|') %}{{ j() }}{{ j() }}{{ j() }}",
    "{% set c = cycler('a', 'b', 'c') %}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.next() }}{{ c.next() }}{{ c.reset() }}{{ c.next() }}",
    "{{ cycler() }}",
    "{{ lipsum() }}", R("lipsum"),
    "{{ raise_exception('no ' ~ 'way') }}",
    "{% if no %}{{ raise_exception('x') }}{% endif %}ok",
    "{{ strftime_now('%Y-%m-%d %H:%M:%S %A %a %B %b %y %j %U %W %V %G %w %u %e %-d %-m %I %-I %p %l %k %P %C %h %D %F %T %R %r %n%t %% %c %x %X %f %z%Z %^a %_d %s %g') }}",
    "{{ strftime_now('') }}{{ strftime_now('plain é') }}",
    "{{ strftime_now('%Q') }}", R("is not known"),
    "{{ strftime_now() }}",
    "{{ strftime_now(5) }}",
    "{{ range }}", R("is printed"),
    "{{ loop }}|{{ super }}|{{ self is defined }}",
    "{% for x in l %}{{ loop }}{% endfor %}",
    "{{ undefined_function(1) }}", "{{ s() }}", "{{ 5() }}", "{{ none() }}",
    # Others.
    "{{ l|sort|first }}{{ (l|sort)[0] }}{{ l|sort(attribute=none) }} {{ [[2, 1], [1, 2]]|sort(attribute=1) }} {{ [{'a': {'b': 2}}, {'a': {'b': 1}}]|sort(attribute='a.b')|map(attribute='a.b')|list }}",
    "{{ ['b', 'A']|sort|join }} {{ [none, none]|sort }} {{ [[1], [0]]|min }} {{ ('b', 'a')|sort }}",
    "{{ [2, none]|sort }}",
    "{{ 'ab'|list }} {{ {'a': 1}|list }} {{ range(2)|list }} {{ (1, 2)|list }} {{ 5|list }}",
    "{{ 5|first }}",
    "{{ 'abc'|first }}{{ 'abc'|last }}{{ ''|first }}|{{ ''|last }}|{{ (1, 2)|last }}{{ {'a': 1, 'b': 2}|last }}",
    "{{ [1, 2]|reverse|first }} {{ (l|reverse)|list|string }} {{ [3, 4]|reverse|join('-') }}",
    "{{ s|list|unique|join }} {{ 'aAbB'|unique|join }} {{ [[1], [1]]|unique|list }}",
    "{{ [1, [2]]|unique|list }}",
    "{{ {'a': 1}|tojson|safe }} {{ {'a': '<'}|tojson }} {{ [none, true, 1.5]|tojson }} {{ 'a\u2028b'|tojson }}",
    "{{ d|tojson(indent=2, sort_keys=true) }}", "{{ {'z': 1, 'a': 2}|tojson(sort_keys=true) }}",
    "{{ {'a': range}|tojson }}", "{{ {(1, 2): 3}|tojson }}",
    "{{ [1, 2, 3]|tojson(indent=-1) }}", "{{ [1]|tojson(indent=true) }}", "{{ [1]|tojson(nope=1) }}",
    "{{ [1, [], {}, [2]]|tojson(indent=3) }}",
    "{{ 1e100|tojson }} {{ 0.1|tojson }} {{ -0.0|tojson }} {{ -0.0 }} {{ 0.0 == -0.0 }} {{ 1e-7|tojson }}",
    "{{ 10 // 3.0 }} {{ 10 % 3.5 }} {{ -10 % 3.5 }} {{ 10.0 // -3 }} {{ 2 ** 10 }} {{ 2.0 ** 3 }} {{ 10 ** 20 }} {{ 10 ** -2 }} {{ 0 ** 0 }} {{ (-2) ** 3 }} {{ 4 ** 0.5 }}",
    "{{ 3 - -2 }} {{ 3 --2 }} {{ 2 * -3 }} {{ -2 * -3 }} {{ 7 - 3 - 2 }} {{ 100 / 10 / 2 }} {{ 2 + 3 * 4 ** 2 }} {{ (2 + 3) * 4 }} {{ 7 // 2 * 2 }} {{ 7 % 4 * 2 }}",
    "{{ 'a' * 3 ~ 'b' }} {{ 'a' ~ 'b' * 2 }} {{ 1 ~ '' ~ 2 }} {{ [1] ~ [2] }} {{ 'x' ~ none }} {{ 1 + 1 ~ 1 + 1 }}",
    "{{ 1 if true else 2 }} {{ (1 if false else 2) + 1 }} {{ 1 if false else 2 + 1 }} {{ [1 if true, 2] }} {{ 'a' if false ~ 'b' }}",
    "{{ 5 if 3 > 2 and not false else 6 }} {{ 'even' if 4 is even else 'odd' }} {{ x if x is defined else 'no x' }} {{ (x or 'y') if true }}",
    "{{ true and false or true }} {{ not true or true }} {{ not (true or true) }} {{ 1 and 2 and 3 }} {{ '' or none or 0 }} {{ none and x.y }}",
    "{{ 1 < 2 == true }} {{ (1 < 2) == true }} {{ 1 == 1 == 1 }} {{ 1 != 2 != 1 }} {{ 'a' in 'abc' == true }} {{ 2 in [1, 2] and 3 not in [1] }}",
    "{{ [1, 2, 3][1] }} {{ 'abc'[1] }} {{ {'a': [1, {'b': 2}]}.a[1].b }} {{ [[1, 2], [3]][0][-1] }} {{ 'abc'[-4] }}| {{ {'a': 1}['b'] }}|",
    "{{ s[0:5] }} {{ s[7:] }} {{ s[-5:-1] }} {{ s[:-1][::-1] }} {{ [1, 2, 3, 4, 5][1:-1] }} {{ [1, 2, 3, 4, 5][-3:] }} {{ [1, 2, 3, 4, 5][::2] }} {{ [1, 2, 3][10:] }} {{ [1, 2, 3][-10:2] }} {{ 'héllo'[1:3] }} {{ [1, 2][1:0] }}",
    "{{ s[1.5] }}|{{ l[1.0] }}|{{ s['a'] }}|{{ l[none] }}|{{ d[none] }}",
    "{{ l.1 }} {{ s.0 }} {{ d.0 }}| {{ {0: 'z'}.0 }}",
    "{% for i in [1, 2, 3] if i is odd %}{{ i }}{{ ',' if not loop.last }}{% endfor %}{% for i in range(3) if i %}{{ loop.length }}{% endfor %}",
    "{% for k, v in {'a': {'b': 1}}.items() recursive %}{{ k }}{% if v is mapping %}({{ loop(v.items()) }}){% else %}={{ v }}{% endif %}{% endfor %}",
    "{% for x in [1, 2] %}{% for y in [3, 4] %}{{ loop.index }}{{ x }}{{ y }}{% if loop.first %}f{% endif %}{% endfor %}{{ loop.last }}{% endfor %}",
    "{% for x in l %}{% set outer = loop %}{% for y in l %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}",
    "{% for a in [] %}{{ a }}{% else %}{% for b in [1] %}{{ b }}{% endfor %}{% endfor %}{% for x in l %}{% else %}never{% endfor %}",
    "{% for x in l %}{{ loop.nope }}|{% endfor %}{% for x in l %}{{ loop.index is odd }}{{ loop.cycle(1) }}{% endfor %}",
    "{% for x in l %}{{ loop.cycle() }}{% endfor %}",
    "{% for x in 'ab' %}{% for y in 'cd' %}{% if y == 'd' %}{% continue %}{% endif %}{{ x }}{{ y }}{% endfor %}{% endfor %}",
    "{% for x in w|map('upper')|select('ne', 'B') %}{{ loop.index }}{{ x }}{{ loop.last }}{% endfor %}",
    "{% for x in l|sort(reverse=true) %}{{ x }}{% endfor %}{% for x in l|batch(2) %}{{ x|join }};{% endfor %}{% for x in (1, 'a', none) %}{{ x }}{% endfor %}",
    "{% set x = [] %}{% for i in l %}{% set x = x + [i] %}{% endfor %}{{ x }}{% set y = {'a': 1} %}{{ dict(y, b=2) }}{{ y }}",
    "{% set x %}{% for i in l %}{{ i }},{% endfor %}{% endset %}{{ x[:-1] }}{{ x.split(',')|length }}",
    "{% set x = 'a' if no else 'b' %}{{ x }}{% set y = x == 'b' %}{{ y }}{% set z = not y %}{{ z }}{% set q = 1 in l %}{{ q }}",
    "{% if x is not defined %}{% set x = 'd' %}{% endif %}{{ x }}{% if yes %}{% set t = 1 %}{% endif %}{{ t }}{% if no %}{% set u = 1 %}{% endif %}{{ u is defined }}",
    "{% with %}{% endwith %}{% with a = 1 %}{% with b = a + 1 %}{{ a }}{{ b }}{% endwith %}{{ b is defined }}{% endwith %}{% with (a, b) = (1, 2) %}{{ a }}{{ b }}{% endwith %}",
    "{% macro a() %}A{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}{{ a() ~ b() }}{{ [a(), b()]|join('-') }}",
    "{% macro m(x, y='d') %}{{ x }}{{ y }}{% endmacro %}{{ m('a', y='b') }}{{ m(x='c') }}{{ m(*['e', 'f']) }}{{ m('g', **{'y': 'h'}) }}{{ m(m('i')) }}",
    "{% macro m(x) %}{% if x > 0 %}{{ x }}{{ m(x - 1) }}{% endif %}{% endmacro %}{{ m(3) }}",
    "{% macro m(l) %}{% for x in l %}{{ x }}{{ loop.index }}{% endfor %}{% endmacro %}{% for y in [1] %}{{ m([4, 5]) }}{{ loop.index }}{% endfor %}",
    "{% macro m(a, a) %}{% endmacro %}", "{% macro m(a.b) %}{% endmacro %}", "{% macro m %}{% endmacro %}", "{% macro 1() %}{% endmacro %}",
    "{% macro m(caller) %}{{ caller }}{% endmacro %}{{ m(5) }}",
    "{% macro m(**k) %}{% endmacro %}", "{% macro m() %}{{ kwargs.a }}{{ kwargs|length }}{% endmacro %}{{ m(a=1) }}{{ m() }}",
    "{% macro m(a) %}{{ a }}{{ varargs|join(',') }}{% for k, v in kwargs.items() %}{{ k }}{{ v }}{% endfor %}{% endmacro %}{{ m(1, 2, 3, b=4) }}",
    "{% call(a, b) m() %}{% endcall %}", "{% macro m() %}{{ caller(1, 2) }}{% endmacro %}{% call(a) m() %}{{ a }}{% endcall %}",
    "{% filter upper %}a{% filter lower %}B{% endfilter %}c{% endfilter %}", "{% filter %}a{% endfilter %}", "{% filter nope %}a{% endfilter %}", "{% filter trim|center(5) %} a {% endfilter %}|",
    "{{ '%s' % 'a' ~ 'b' }} {{ '%s-%s' % ('a', 'b') ~ 'c' }} {{ '%.1f%%' % 12.34 }} {{ '%3s|%-3s|' % ('a', 'b') }} {{ '%s' % (none,) }} {{ '%s' % true }} {{ '%5.1f|' % 3.14159 }} {{ '%e' % 0 }} {{ '%g' % 100000 }} {{ '%g' % 1000000 }}",
    "{{ '%s %s' % (1,) }}", "{{ '%(a)s' % 5 }}", "{{ '%(zz)s' % d }}", "{{ '%' % 1 }}", "{{ '%d' % none }}", "{{ '%s' % d }}", "{{ '%c' % 'ab' }}", "{{ '%c' % 97 }}", "{{ '%i' % -3.7 }}", "{{ '%x' % -255 }} {{ '%+d % d' % (5, 5) }} {{ '%05.1f' % -2.5 }} {{ '%.3d' % 5 }} {{ '%08d' % -42 }} {{ '%#o %#X' % (8, 255) }}",
    "{{ '{:<5}|{:>5}|{:^5}|'.format(1, 2, 3) }} {{ '{:-^9}'.format('a') }} {{ '{:05.1f}'.format(-2.5) }} {{ '{:+.2f}'.format(1) }} {{ '{:e}'.format(0) }} {{ '{:.0%}'.format(0.5) }} {{ '{:,}'.format(999) }} {{ '{:,}'.format(-1234) }} {{ '{:_b}'.format(1000) }} {{ '{:08,}'.format(1234) }}",
    "{{ '{:<05}'.format(3) }} {{ '{:05}'.format('a') }} {{ '{:0>5}'.format(-3) }} {{ '{:=5}'.format(-3) }} {{ '{:x>5}'.format(1.5) }} {{ '{:5}'.format(1.5) }} {{ '{:g}'.format(1e-5) }} {{ '{:G}'.format(1e-10) }} {{ '{:F}'.format(1.5) }} {{ '{:#x}'.format(-255) }} {{ '{:#06x}'.format(255) }}",
    "{{ '{:.2}'.format(1234.5) }} {{ '{:.1}'.format(0.05) }} {{ '{:.3}'.format(1e10) }} {{ '{:.6}'.format(123456.789) }} {{ '{:.17}'.format(0.1) }} {{ '{:.2}'.format(99.9) }} {{ '{:.2}'.format(1.0) }} {{ '{:10.3}|'.format(2.0) }} {{ '{:,}'.format(1234567.0) }} {{ '{:,.3}'.format(1234567.0) }} {{ '{:.4}'.format(1000.0) }}",
    "{{ '{0:>{1}}'.format('a', 4) }} {{ '{a.b}'.format(a=1) }}", "{{ '{0.x}'.format(d) }}", "{{ '{!x}'.format(1) }}", "{{ '{:zz}'.format(1) }}", "{{ '{:.2d}'.format(1) }}", "{{ '{:,s}'.format('a') }}", "{{ '}'.format() }}", "{{ '{0}{}'.format(1, 2) }}", "{{ '{:c}'.format('a') }}", "{{ '{:=5}'.format('a') }}", "{{ '{:+}'.format('a') }}", "{{ '{:5}'.format([]) }}", "{{ '{!r:>5}|{!s}'.format('a', none) }}", "{{ '{:d}'.format('5') }}", "{{ '{:f}'.format(3) }} {{ '{:.1f}'.format(big) }} {{ '{:%}'.format(2) }} {{ '{:x}'.format(true) }}",
    "{{ 'a-b_c d'.split('-')[1].split('_') }} {{ 'a  b'.split(' ') }} {{ 'aXbXc'.split('X', 0) }} {{ 'a b c'.rsplit(' ', 1)[0] }} {{ 'a,b'.split(',')|map('upper')|list }} {{ '  x y  '.split(none, 1) }} {{ ' x y '.rsplit(none, 1) }} {{ 'abc'.rsplit('b') }}",
    "{{ 'abc'.split(5) }}", "{{ 'abc'.strip(5) }}", "{{ 'abc'.replace('a') }}", "{{ 'abc'.find(5) }}", "{{ 'abc'.startswith(5) }}", "{{ 'abc'.join('x', 'y') }}", "{{ 'abc'.center() }}", "{{ 'abc'.lower(1) }}",
    "{{ 'tITLE case-is o\'neil'.title() }} {{ 'ab1cd'.title() }} {{ 'ÉCOLE'.lower() }} {{ 'éa'.capitalize() }} {{ 'ǆ'.upper() }} {{ 'İ'.lower()|length }} {{ 'ΑΣ'.lower() }}",
    "{{ 'a\nb\r\nc'.splitlines() }} {{ 'a\n\nb'.split('\n') }} {{ 'x'.ljust(3, '.') ~ 'y'.rjust(3, '.') }} {{ '42'.zfill(5) }} {{ '+42'.zfill(5) }} {{ '--42'.zfill(6) }}",
    "{{ 'abcabc'.find('c', -2) }} {{ 'abcabc'.find('a', 1, -1) }} {{ 'abcabc'.rfind('b', none, 4) }} {{ 'abcabc'.count('b', 2) }} {{ 'abcabc'.index('c', 3) }} {{ 'abc'.endswith(('x', 'bc')) }} {{ 'abc'.endswith('b', 0, 2) }} {{ 'abc'.startswith('c', 2) }} {{ 'abc'.startswith('', 3) }} {{ 'abc'.startswith('', 4) }} {{ 'abc'.count('', 1) }} {{ 'abc'.find('', 3) }} {{ 'abc'.find('', 4) }}",
    "{{ 'x'|default('y') }} {{ missing|default }}| {{ missing|default(none) }} {{ none|default('n') }} {{ false|default('n', true) }} {{ d.zz|default(d.b) }} {{ missing.a|default('x') }}",
    "{{ d.zz.a|default('x') }}", "{{ d.a|default('x')|upper }} {{ (d.zz|default({})).a|default('q') }} {{ ''|d('e', true) }} {{ 0|d(5, boolean=true) }} {{ missing|d('a')|d('b') }}",
    "{{ 'a'|center(5)|replace(' ', '.') }} {{ 'a'|center }}| {{ 'abc'|center(2) }} {{ 'ab'|upper|lower|capitalize }} {{ '<b>'|e|upper }} {{ '<'|e|replace('&', 'x') }} {{ 'a'|safe|upper is escaped }}",
    "{{ 'a b'|wordcount }} {{ ''|wordcount }} {{ \"don't\"|wordcount }} {{ 'a'|trim|length }} {{ 'x' |string is string }} {{ none|string }} {{ true|string }} {{ 1.0|string }} {{ [1, 'a']|string }}",
    "{{ [1, 2, 3]|sum / [1, 2, 3]|length }} {{ [1, 2]|sum(start=1) }} {{ []|sum }} {{ [0.1, 0.2, 0.3]|sum }} {{ [{'a': 1}, {'a': 2}]|sum('a') }} {{ [true, true]|sum }} {{ [[1], [2]]|sum(start=[0]) }}",
    "{{ [1, 'a']|sum }}", "{{ 5|sum }}", "{{ [1, 2]|sum(attribute='x') }}",
    "{{ 'abc'|batch(2)|list }} {{ [1, 2, 3]|batch(2, 0)|map('list')|list }} {{ [1, 2, 3, 4, 5]|slice(2)|list }} {{ []|batch(2)|list }} {{ []|slice(2)|list }} {{ [1]|slice(3, 'x')|list }}",
    "{{ -5|abs }} {{ 5.5|int }} {{ '5.5'|int }} {{ '5.5'|float|int }} {{ 'abc'|int(-1) }} {{ ''|int }} {{ '-12'|int }} {{ '+7'|int }} {{ '1e2'|int }} {{ ' 7\n'|int }} {{ true|int }} {{ [1]|int(3) }} {{ {}|int }} {{ '0x10'|int }} {{ '010'|int }} {{ '0b1'|int(0, 2) }} {{ 'z'|int(0, 36) }} {{ '9'|int(4, 8) }} {{ 1e20|int }} {{ '1__0'|int(3) }} {{ '_1'|int(4) }}",
    "{{ 3.7|round }} {{ 3.2|round(0, 'ceil') }} {{ -3.5|round }} {{ 1e300|round(2) }} {{ 1.005|round(2) }} {{ 12345.678|round(-2) }} {{ 0.1|round(20) }} {{ 2.5|round|int }} {{ 5|round(2) }} {{ 'nan'|float|round }} {{ 2|round(1, 'floor') }} {{ 1.23456789|round(precision=3, method='floor') }}",
    "{{ 'a'|round }}", "{{ 1.5|round('x') }}",
    "{{ {'a': 1}.items()|list }} {{ {'b': 2, 'a': 1}.items()|sort }} {{ {'b': 2, 'a': 1}.keys()|sort|join }} {{ {'a': 1}.values()|sum }} {{ {'a': 1}.items()|first }} {{ {'b': 2, 'a': 1}|dictsort|map('first')|join }} {{ {'a': 1, 'b': 2}.items()|map('join', '=')|join('&') }} {{ {'a': 1}.get('a', 5) }} {{ {}.get('a') is none }}",
    "{{ {'a': 1, 'b': 2}.values()|list }} {{ {'a': 1}.keys() is iterable }} {{ {'a': 1}.items()|tojson is defined }}",
    "{{ {'a': 1} == {'a': 1} }} {{ {'a': 1, 'b': 2} == {'b': 2, 'a': 1} }} {{ [1] == (1,) }} {{ '1' == 1 }} {{ 1.0 == 1 }} {{ none != 0 }} {{ true == 1 }} {{ [] == [] }} {{ 'a' != 'b' }} {{ range(3)|list == [0, 1, 2] }}",
    "{{ [1, 2] is sequence }} {{ 'x' is sequence }} {{ 5 is sequence }} {{ {} is iterable }} {{ none is sequence }} {{ none is iterable }} {{ (1,) is sequence }} {{ range(2) is sequence }} {{ 1.5 is integer }} {{ 2.0 is float }} {{ '5' is integer }} {{ true is number }} {{ none is defined }} {{ false is false }} {{ 0 is false }} {{ [] is none }}",
    "{{ namespace is callable }} {{ dict is callable }} {{ joiner is defined }} {{ cycler is defined }} {{ lipsum is defined }} {{ range is defined }} {{ raise_exception is defined }} {{ strftime_now is defined }} {{ nope is defined }} {{ strftime_now is callable }}",
    "{% set ns = namespace() %}{% set ns.a = 1 %}{% set ns.b = ns.a + 1 %}{{ ns.a }}{{ ns.b }}{% set ns.a, x = 5, 6 %}{{ ns.a }}{{ x }}{% if ns.c is defined %}x{% endif %}{% set ns.items = 3 %}{{ ns.items }}",
    "{% set missing_ns.a = 1 %}", "{% set ns = {} %}{% set ns.a = 1 %}", "{% set ns = namespace(5) %}", "{% set a.b.c = 1 %}", "{% set a[0] = 1 %}", "{% set a + b = 1 %}",
    "{%- set a = 1 -%}   {%- set b = 2 %}\n\n{{ a }}\n{%- if a %}\n  x\n{%- endif %}\n  {{- b }}\n",
    "{% if true %}a{% endif %}\n{% if true %}b{% endif %} \n  {% if true %}c{% endif %}\n\n{{ 1 }}\n{{ 2 }} {# x #}\n{# y #}\n{# z -#}\n e",
    "  {%- if true %} a {% endif -%}  b  {%+ if true +%} c {%- endif %}",
    "{{- 1 -}} {{- 2 }}  {%- set x = 3 -%}  {{ x -}}  |",
    "{% raw -%}  {{ a }}  {%- endraw %}|{% raw %}{% raw %}{% endraw %}|{%- raw %} x {% endraw -%} y",
    "{# {% raw %} #}a{# {{ #}b{#- -#} c {#+ +#} d",
    "{{ \"a{{b}}\" }}{{ '{% x %}' }}{{ '{#' }}{{ '#}' }}{{ \"\\\"\" }}{{ '\\'' }}",
    "{{ {'a': {'b': {'c': [1, {'d': '}}'}]}}}['a']['b']['c'][1].d }}{{ [[[]]] }}{{ ((1)) }}{{ {} }}{{ {'a': ()} }}",
    "{{ [1,2,] }}{{ {'a':1,} }}{{ (1,2,) }}{{ dict(a=1,) }}{{ [1,\n2] }}{{\n1\n}}", "{{ [,] }}", "{{ (,) }}", "{{ {,} }}", "{{ {'a'} }}", "{{ {'a': } }}", "{{ [1, , 2] }}", "{{ 1,, 2 }}",
    "{{ not }}", "{{ is }}", "{{ and }}", "{{ if }}", "{{ in }}", "{{ 1 not 2 }}", "{{ 1 is }}", "{{ 1 is not }}", "{{ 1 | }}", "{{ | upper }}", "{{ 'a' . upper() }}", "{{ a['b' }}", "{{ a[] }}", "{{ a.1b }}", "{{ 1a }}", "{{ a..b }}", "{{ a; b }}", "{{ a := 1 }}", "{{ lambda x: x }}", "{{ [x for x in l] }}", "{{ a -> b }}", "{{ 1 <> 2 }}", "{{ 1 === 1 }}", "{{ !a }}", "{{ a && b }}", "{{ a || b }}", "{{ ~1 }}", "{{ 1 ** }}", "{{ $a }}", "{{ `a` }}", "{{ a\\b }}",
    "{% if %}{% endif %}", "{% if a b %}{% endif %}", "{% for %}{% endfor %}", "{% for x in %}{% endfor %}", "{% for x of l %}{% endfor %}", "{% endfor %}", "{% else %}", "{% elif a %}", "{% if a %}{% endfor %}", "{% for a in l %}{% endif %}", "{% set x %}", "{% macro m() %}", "{% set x = %}", "{% set x == 1 %}", "{% set x 1 %}", "{% with a %}{% endwith %}", "{% block %}{% endblock %}", "{% endblock %}", "{% continue %}", "{% call %}{% endcall %}", "{% %}", "{% 5 %}", "{% 'a' %}", "{%", "{{", "{#", "}}", "%}", "#}", "{ {", "{", "a { b } c", "{{ '", "{% raw %}{% endraw", "{% if yes %}a{% endif % }",
    "{% if yes: %}a{% endif %}{% for x in l: %}{{ x }}{% endfor %}",
    "{% block a %}x{% endblock c %}", "{% block a %}{{ super() }}{% endblock %}", "{% block a %}{% set z = 1 %}{% endblock %}{{ z }}", "{% if no %}{% block a %}x{% endblock %}{% endif %}",
    "{% generation %}a{% endgeneration %}{{ 'generation' }}{# {% generation %} #}", "{% generation -%}  a  {%- endgeneration %}|", "{% generation %}", "{% endgeneration %}", "{% generation x %}a{% endgeneration %}",
    "{{ strftime_now('%d %B %Y') }} {{ strftime_now('%b %d, %Y') }} {{ strftime_now(\"%Y-%m-%dT%H:%M:%SZ\") }} {{ strftime_now('%A')|upper }} {{ strftime_now('100%%') }} {{ strftime_now('%-d/%-m/%y') }} {{ strftime_now('%e')|trim }} {{ strftime_now('%I:%M %p')|lower }}",
    "{{ strftime_now('%0e|%_H|%-H|%-M|%-S|%-y|%-j|%_j|%#a|%^B|%^p|%#p|%-k|%_l') }}",
    "{{ cycler(1, 2).next() }} {% set c = cycler('odd', 'even') %}{% for x in l %}{{ c.next() }}{% endfor %} {{ c.current }}{{ c.next }}", R("is printed"),
    "{% set j = joiner(5) %}{{ j() }}{{ j() }}{% set k = joiner(sep='-') %}{{ k() }}{{ k() }}",
    "{{ joiner() }}", R("is printed"), "{{ namespace() }}", R("is printed"), "{{ d.keys }}", R("is printed"),
    "{{ 12345678901234567890 }} {{ 12345678901234567890 + 1 }} {{ 98765432109876543210 // 7 }} {{ 98765432109876543210 % 7 }} {{ -12345678901234567890 }} {{ 12345678901234567890 > 1 }} {{ '12345678901234567890'|int + 1 }} {{ 12345678901234567890|tojson }} {{ '%d' % 12345678901234567890 }} {{ '{:,}'.format(12345678901234567890) }}",
    "{{ 9007199254740993 == 9007199254740993.0 }} {{ 9007199254740993|float }} {{ 9007199254740993 * 1.0 }} {{ 9007199254740993 - 1 }} {{ 4611686018427387904 * 2 }} {{ 18446744073709551615 + 1 }} {{ 2 ** 64 }} {{ 2 ** 100 }}",
    "{{ 1.5e3 }} {{ 1e0 }} {{ 1E5 }} {{ 100000000000000000000.0 }} {{ 1234567890123456.7 }} {{ 0.00001 }} {{ 0.0001 }} {{ 1/3 }} {{ 2/3 }} {{ 1e16 }} {{ 123456789012345680.0 }} {{ 3.0 }} {{ 3.10 }} {{ 1.0e-10 }}",
    "{{ 'a' < 'b' < 'c' }} {{ 'Z' < 'a' }} {{ 'é' > 'z' }} {{ '' < 'a' }} {{ [1, 2] > [1] }} {{ (1, 'a') < (1, 'b') }} {{ true > false }} {{ 1 <= 1.0 }}",
    "{{ {} < {} }}", "{{ none > none }}", "{{ 'a' < 1 }}", "{{ [1] < 'a' }}", "{{ missing == '' }} {{ missing != 1 }} {{ missing is sameas missing }}",
    "{{ missing|upper }}|{{ missing|trim }}|{{ missing|replace('a', 'b') }}|{{ missing|first }}|{{ missing|sort }}|{{ missing|unique|list }}|{{ missing|sum }}|{{ missing|map('upper')|list }}|{{ missing|tojson is defined }}",
    "{{ missing|first }}|{{ missing|last }}|{{ missing|reverse|list }}|{{ missing|batch(2)|list }}|{{ missing|string }}|{{ missing|wordcount }}|{{ missing|title }}",
    "{{ missing|abs }}", "{{ missing|round }}", "{{ missing|dictsort }}", "{{ missing|indent }}", "{{ missing|items|list }}", "{{ missing.a.b }}", "{{ missing ~ 'a' }} {{ [missing, 1]|length }} {{ {'a': missing}.a is defined }} {{ missing if missing else 'e' }} {{ not missing }} {{ missing and 1 }}", "{{ missing * 2 }}", "{{ 'a' + missing }}", "{{ missing > 1 }}", "{{ missing % 2 }}", "{{ for_ }}", "{% if missing %}a{% else %}b{% endif %}{% if missing == none %}c{% endif %}{% if missing is none %}d{% endif %}", "{% set x = missing %}{{ x is defined }}", "{% for a, b in missing %}{% endfor %}ok", "{{ missing['a'] }}", "{{ missing[0] }}",
    # Idioms of chat templates.
    "{%- for m in messages %}{%- if m.role == 'system' -%}<<SYS>>{{ m.content }}<</SYS>>\n{%- elif m['content'] is string %}{{ m.content.strip() }}{%- elif m.content is iterable and m.content is not none %}{%- for p in m.content %}{%- if p.type == 'text' %}{{ p.text }}{%- endif %}{%- endfor %}{%- else %}{{ m.tool_calls|tojson }}{%- endif %}\n{%- endfor %}",
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set sys = messages[0].content %}{% else %}{% set loop_messages = messages %}{% endif %}{{ sys }}{{ loop_messages|length }}",
    "{% set ns = namespace(found=false) %}{% for m in messages[::-1] %}{% if not ns.found and m.role == 'user' %}{% set ns.found = loop.index0 %}{% endif %}{% endfor %}{{ ns.found }}",
    "{{ messages|selectattr('role', 'equalto', 'user')|list|length }} {{ (messages|selectattr('role', '==', 'system')|first).content }} {{ messages|map(attribute='role')|join(',') }} {{ messages[-1].role }}",
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' }}{{ '\\n' if not loop.last }}{% endfor %}{% if add_generation_prompt %}x{% endif %}",
    "{{ 'a</think>b'.split('</think>')[-1].lstrip('\\n') }} {{ 'a</think>b'.split('</think>')[0].rstrip().split('<think>')[-1] }} {{ '</think>' in 'a</think>b' }}",
    "{%- set tool = tools[0].function %}{{ tool.name }}{% for k, v in tool.parameters.items() %}{{ k }}: {{ v|tojson }}{{ ', ' if not loop.last else '' }}{% endfor %}{{ tool|tojson(indent=4) }}",
    "{% for m in messages if m.role != 'system' %}{{ loop.index0 % 2 == 0 }}{{ loop.cycle('u', 'a') }}{% endfor %}{% if (messages|length) % 2 == 1 %}odd{% endif %}",
    "{% set content = messages[1].content %}{{ content if content is string else content[0]['text'] }}{{ content | map(attribute='text') | join('\\n') }}{{ (content | selectattr('type', 'equalto', 'image') | list | length) > 0 }}",
    "{% if tools is defined and tools %}T{% endif %}{% if documents %}D{% endif %}{% if documents is defined %}d{% endif %}{{ bos_token }}{{ eos_token is defined }}",
]


class AssistantTracker(Extension):
    """As transformers has it: the tag's body is a block of a call."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        call = self.call_method("_generation_support")
        return nodes.CallBlock(call, [], [], body).set_lineno(line)

    @pass_eval_context
    def _generation_support(self, context, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def strftime_now(format):
    # Python's own '%s' asks for the zone of the machine, which is not UTC everywhere.
    zone = datetime.timezone.utc
    return datetime.datetime.fromtimestamp(NOW, zone).replace(tzinfo=None).strftime(format.replace("%s", str(NOW)))


def environment():
    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[AssistantTracker, jinja2.ext.loopcontrols]
    )
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = strftime_now
    return env


def render(env, template):
    # What transformers passes beside the variables of a conversation.
    always = {"documents": None, "add_generation_prompt": False}
    try:
        # Some filters change a list that they are given.
        output = env.from_string(template).render(**always, **copy.deepcopy(VARIABLES))
        output.encode("utf-8")
        return {"output": re.sub("0x[0-9a-f]{6,}", "0x", output)}
    except Exception as e:  # Whatever it is, transformers passes it on.
        return {"error": re.sub("0x[0-9a-f]{6,}", "0x", f"{type(e).__name__}: {e}")[:200]}


def main():
    env = environment()
    cases = []
    for case in CASES:
        if isinstance(case, R):
            cases[-1]["refused"] = case
        else:
            cases.append({"template": case, **render(env, case)})
    for case in cases:
        if "refused" in case and "output" not in case:
            raise SystemExit(f"jinja2 refuses it too: {case}")
    head = {"jinja2": jinja2.__version__, "now": NOW, "variables": list(VARIABLES.items())}
    lines = [json.dumps(head, ensure_ascii=False)[:-1] + ', "cases": [']
    lines.append(",\n".join(json.dumps(case, ensure_ascii=False) for case in cases))
    text = "\n".join(lines) + "\n]}\n"
    pathlib.Path(__file__).with_name("cases.json").write_text(text, encoding="utf-8")
    print(f"{len(cases)} templates")


if __name__ == "__main__":
    main()
