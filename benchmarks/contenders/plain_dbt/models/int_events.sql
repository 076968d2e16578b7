{{ config(materialized="incremental") }}

select
    *,
    coalesce(
        event_type in ('play', 'pause', 'seek', 'complete')
        and user_id <> ''
        and episode_id <> ''
        and event_at >= timestamptz '2000-01-01 00:00:00+00'
        and event_at <= now()
        and (event_type in ('pause', 'seek') and duration is null or duration between 1 and 86400),
        false
    ) as is_valid
from {{ ref("stg_events") }}
{% if is_incremental() %}
where filename not in (select distinct filename from {{ this }})
{% endif %}
