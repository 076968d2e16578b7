select
    md5(concat_ws('|', user_id, episode_id, event_type, event_at)) as event_id,
    user_id,
    episode_id,
    event_type,
    event_at,
    cast(event_at as date) as event_date,
    duration
from {{ ref("int_events") }}
where is_valid
qualify row_number() over (partition by user_id, episode_id, event_type, event_at order by filename desc) = 1
