{#- Schemas are called exactly bronze, silver, gold and ops: no prefix from the profile. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ (custom_schema_name or target.schema) | trim }}
{%- endmacro %}
