-- grain: one event whose key this run touched; none where it touches them all
{{ config(materialized="table", tags=["silver"]) }}

select events.*
from {{ ref("cleansed_events") }} as events
{% if is_everything_touched() %}
where false
{% else %}
where {{ is_touched("events.key_hash", "events.timestamp") }}
{% endif %}
