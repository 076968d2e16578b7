-- grain: one fact whose key this run touched; none where it touches them all
{{ config(materialized="table", tags=["gold"]) }}

select events.*
from {{ ref("fact_user_interactions") }} as events
{% if is_everything_touched() %}
where false
{% else %}
where {{ is_touched("events.key_hash", "events.timestamp") }}
{% endif %}
