-- grain: one id of one version of the reference data that is not published yet
{{ config(
    materialized="incremental",
    incremental_strategy="replace_published_versions",
    full_refresh=false,
    tags=["reference"],
) }}

{% set user_columns = ["signup_date", "country"] %}
{% set episode_columns = ["podcast_id", "title", "release_date", "duration_seconds"] %}
{% set kinds = [
    {"name": "user", "table": "users", "id": "user_id", "others": user_columns},
    {"name": "episode", "table": "episodes", "id": "episode_id", "others": episode_columns},
] %}

{#- With types as in silver, so that one can be compared with the other. -#}
{% set types = {"signup_date": "date", "release_date": "date", "duration_seconds": "integer"} %}

with

{% for kind in kinds %}
{{ kind.table }} as (

    select
        {%- for column in kind.others %}
        cast({{ column }} as {{ types.get(column, text_type()) }}) as {{ column }},
        {%- endfor %}
        cast({{ kind.id }} as {{ text_type() }}) as id
    from {{ reference_rows(kind.table) }}

),

{#- What silver holds of the version before: not a ref, which would be what this model comes before. -#}
{% set database = target.get("database") %}
{% set held = load_relation(api.Relation.create(database=database, schema="silver", identifier=kind.table)) %}

held_{{ kind.table }} as (

    {% if held %}
    select
        {{ kind.id }} as id,
        {{ kind.others | join(",\n        ") }}
    from {{ held }}
    {% else %}
    select * from {{ kind.table }}
    where false
    {% endif %}

),

changed_{{ kind.table }} as (

    select
        '{{ kind.name }}' as kind,
        coalesce({{ kind.table }}.id, held_{{ kind.table }}.id) as id
    from {{ kind.table }}
    full outer join held_{{ kind.table }}
        on {{ kind.table }}.id = held_{{ kind.table }}.id
    where {{ kind.table }}.id is null
        or held_{{ kind.table }}.id is null
        {%- for column in kind.others %}
        or {{ kind.table }}.{{ column }} is distinct from held_{{ kind.table }}.{{ column }}
        {%- endfor %}

),
{% endfor %}

changed as (

    select * from changed_users
    union all
    select * from changed_episodes

),

version as (

    select max(seen_at) as seen_at from {{ source("ops", "reference_versions") }}

)

select
    changed.kind,
    changed.id,
    version.seen_at
from changed
cross join version
{% if is_incremental() %}
-- a build that goes on where another ended has entered some before
left join {{ this }} as entered
    on changed.kind = entered.kind
    and changed.id = entered.id
    and version.seen_at = entered.seen_at
where entered.id is null
{% endif %}
