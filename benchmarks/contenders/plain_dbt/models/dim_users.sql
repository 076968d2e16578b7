select user_id, signup_date, country
from read_parquet('{{ env_var("PLAIN_SEEDS") }}/users.parquet')

union all by name

select distinct user_id
from {{ ref("fct_events") }}
where user_id not in (select user_id from read_parquet('{{ env_var("PLAIN_SEEDS") }}/users.parquet'))
