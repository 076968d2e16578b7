select episode_id, podcast_id, title, release_date, duration_seconds
from read_csv('{{ env_var("PLAIN_SEEDS") }}/episodes.csv')

union all by name

select distinct episode_id
from {{ ref("fct_events") }}
where episode_id not in (select episode_id from read_csv('{{ env_var("PLAIN_SEEDS") }}/episodes.csv'))
