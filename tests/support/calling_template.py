"""A chat template that knows functions."""

TEMPLATE = """\
{%- set first = messages[0]['content'] if messages[0]['role'] == 'system' else '' %}
{%- if tools %}
{{- '<|start|>system\\n' + (first + '\\n\\n' if first else '') + 'Functions:' }}
{%- for tool in tools %}{{- '\\n' + tool | tojson }}{%- endfor %}{{- '<|end|>\\n' }}
{%- elif first %}{{- '<|start|>system\\n' + first + '<|end|>\\n' }}{%- endif %}
{%- for message in messages if message['role'] != 'system' %}
{%- if message['role'] == 'tool' %}
{%- if loop.first or loop.previtem['role'] != 'tool' %}{{- '<|start|>user' }}{%- endif %}
{{- '\\n<answer>' + message['content'] + '</answer>' }}
{%- if loop.last or loop.nextitem['role'] != 'tool' %}{{- '<|end|>\\n' }}{%- endif %}
{%- else %}
{{- '<|start|>' + message['role'] + '\\n' + message['content'] }}
{%- for call in message['tool_calls'] or [] %}
{{- ('\\n' if message['content'] or not loop.first else '') + '<call>' + call['function'] | tojson + '</call>' }}
{%- endfor %}{{- '<|end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start|>assistant\\n' }}{% endif %}"""
"""A template that knows functions, in the manner of Hermes: responses are in turns of the user."""
